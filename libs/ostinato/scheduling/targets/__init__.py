"""What a job does: specifications and their validation. The I/O side lives in the engine."""

from __future__ import annotations

from typing import TypeAlias, assert_never

from ostinato.errors import Violation
from ostinato.scheduling.targets.http import HttpSpec, validate_http
from ostinato.scheduling.targets.noop import NoopSpec, validate_noop

TargetSpec: TypeAlias = NoopSpec | HttpSpec

__all__ = ["HttpSpec", "NoopSpec", "TargetSpec", "can_report", "validate_http", "validate_noop", "validate_target"]


def can_report(spec: TargetSpec) -> bool:
    """Whether its work goes on after the call and says how: only such work can be silent."""
    return isinstance(spec, HttpSpec) and spec.multistage


def validate_target(spec: TargetSpec, path: str) -> list[Violation]:
    """`path` is the job's; the field's name is appended (`jobs[0].http.url`)."""
    match spec:
        case NoopSpec():
            return validate_noop(spec, f"{path}.noop")
        case HttpSpec():
            return validate_http(spec, f"{path}.http")
        case _:
            assert_never(spec)
