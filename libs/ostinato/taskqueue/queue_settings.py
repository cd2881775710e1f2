"""Limits of a queue, as a program or a configuration states them. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from ostinato.config.queue_limits import HIGHEST_RATE, LOWEST_RATE, MOST_AT_ONCE
from ostinato.errors import InvalidArgument, Violation

LONGEST_DEDUP_WINDOW = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class QueueSettings:
    """Of one queue over all processes; without any of them it has no limits, and claims are fastest.

    `max_rate`: starts per second, kept within one `burst` (absent: what a second allows), which is how many may start
    at once after a quiet time. `max_concurrent`: how many may be claimed at once, never more. `dedup_window`: how long
    a dedup key stays taken after its task has ended.
    """

    name: str
    max_rate: float | None = None
    burst: int | None = None
    max_concurrent: int | None = None
    dedup_window: timedelta = timedelta(hours=1)

    @property
    def stored_burst(self) -> int:
        return self.burst or max(1, int(self.max_rate or 1))


def check_queue_settings(queues: Sequence[QueueSettings], known: Collection[str]) -> None:
    """Raises InvalidArgument; `known` are the queues of the classes that were given."""
    violations = [violation for queue in queues for violation in _violations(queue, known)]
    names = [queue.name for queue in queues]
    violations += [
        Violation(f"queues[{name}]", "is given twice") for name in sorted(set(names)) if names.count(name) > 1
    ]
    if violations:
        raise InvalidArgument(violations)


def _violations(queue: QueueSettings, known: Collection[str]) -> Iterator[Violation]:
    path = f"queues[{queue.name}]"
    if queue.name not in known:
        yield Violation(path, "is the queue of no task class that was given")
    if queue.max_rate is not None and not LOWEST_RATE <= queue.max_rate <= HIGHEST_RATE:
        yield Violation(f"{path}.max_rate", f"must be from {LOWEST_RATE:g} to {HIGHEST_RATE:g} starts per second")
    if queue.burst is not None and queue.max_rate is None:
        yield Violation(f"{path}.burst", "means nothing without max_rate")
    if queue.burst is not None and not 1 <= queue.burst <= MOST_AT_ONCE:
        yield Violation(f"{path}.burst", f"must be from 1 to {MOST_AT_ONCE}")
    if queue.max_concurrent is not None and not 1 <= queue.max_concurrent <= MOST_AT_ONCE:
        yield Violation(f"{path}.max_concurrent", f"must be from 1 to {MOST_AT_ONCE}")
    if not timedelta(0) <= queue.dedup_window <= LONGEST_DEDUP_WINDOW:
        yield Violation(f"{path}.dedup_window", f"must be from 0 to {LONGEST_DEDUP_WINDOW.days} days")
