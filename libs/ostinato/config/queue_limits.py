"""Limits of the engine's queues in one variable: `launches: rate=50 concurrent=200; triages: concurrent=4`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ostinato.config.environment import EnvironmentReader

ENGINE_QUEUES = ("launches", "notifications", "timers", "triages")
LOWEST_RATE = 0.001
HIGHEST_RATE = 100_000.0
MOST_AT_ONCE = 100_000

_FORM = "must look like `launches: rate=50 burst=100 concurrent=200; triages: concurrent=4`"
_NUMBERS = {
    "rate": (r"[0-9]{1,6}(\.[0-9]{1,3})?", LOWEST_RATE, HIGHEST_RATE),
    "burst": (r"[0-9]{1,6}", 1, MOST_AT_ONCE),
    "concurrent": (r"[0-9]{1,6}", 1, MOST_AT_ONCE),
}


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """`rate`: starts per second, kept within one `burst`. `concurrent`: running at once over all engines."""

    queue: str
    rate: float | None = None
    burst: int | None = None
    concurrent: int | None = None

    def __str__(self) -> str:
        given = {"rate": self.rate, "burst": self.burst, "concurrent": self.concurrent}
        return f"{self.queue}: " + " ".join(f"{name}={value:g}" for name, value in given.items() if value is not None)


def read_queue_limits(reader: EnvironmentReader, variable: str) -> tuple[QueueLimits, ...]:
    """One entry per queue that is named; notes every broken rule."""
    parts = [part.strip() for part in reader.given(variable).split(";")]
    parsed = [(part, *_parse(part)) for part in parts if part]
    for part, _, rules in parsed:
        for rule in rules:
            reader.refuse(variable, f"{rule}, in `{part[:100]}`")
    found = [limits for _, limits, rules in parsed if limits is not None and not rules]
    for queue in sorted({limits.queue for limits in found}):
        if sum(limits.queue == queue for limits in found) > 1:
            reader.refuse(variable, f"names the queue {queue} twice")
    return tuple(found)


def _parse(part: str) -> tuple[QueueLimits | None, list[str]]:
    queue, colon, text = (piece.strip() for piece in part.partition(":"))
    words = text.split()
    pairs = [word.partition("=") for word in words]
    if not colon or not queue or not words or not all(equals for _, equals, _ in pairs):
        return None, [_FORM]
    values = {name: value for name, _, value in pairs}
    rules = [*_rules(queue, values), *(["names a limit twice"] if len(values) < len(pairs) else [])]
    return (None if rules else _limits(queue, values)), rules


def _rules(queue: str, values: dict[str, str]) -> Iterator[str]:
    if queue not in ENGINE_QUEUES:
        yield "names no queue of the engine: these are " + ", ".join(ENGINE_QUEUES)
    for name, value in values.items():
        if name not in _NUMBERS:
            yield f"knows the limits {', '.join(_NUMBERS)} only"
            continue
        pattern, low, high = _NUMBERS[name]
        if not re.fullmatch(pattern, value) or not low <= float(value) <= high:
            kind = "a number" if name == "rate" else "a whole number"
            yield f"{name} must be {kind} from {low:g} to {high:g}"
    if "burst" in values and "rate" not in values:
        yield "burst means nothing without rate"


def _limits(queue: str, values: dict[str, str]) -> QueueLimits:
    return QueueLimits(
        queue,
        rate=float(values["rate"]) if "rate" in values else None,
        burst=int(values["burst"]) if "burst" in values else None,
        concurrent=int(values["concurrent"]) if "concurrent" in values else None,
    )
