"""The target that does nothing outside: it sleeps, then emits triggers to the downstream jobs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from ostinato.errors import Violation

MAX_SLEEP = timedelta(hours=24)
MAX_TRIGGERS = 100


@dataclass(frozen=True, slots=True)
class NoopSpec:
    sleep: timedelta = timedelta(0)
    triggers_count: int = 0


def validate_noop(spec: NoopSpec, path: str) -> list[Violation]:
    violations = []
    if not timedelta(0) <= spec.sleep <= MAX_SLEEP:
        violations.append(Violation(f"{path}.sleep", "must be between 0s and 24h"))
    if not 0 <= spec.triggers_count <= MAX_TRIGGERS:
        violations.append(Violation(f"{path}.triggers_count", f"must be between 0 and {MAX_TRIGGERS}"))
    return violations
