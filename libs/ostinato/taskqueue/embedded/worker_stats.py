"""What a worker counts, per task class: plain ints and arrays, because a metric object per task would cost too much.

A class that has no handler here counts under `unknown`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

# A bucket ends at 2^n / 8192 s: from 0.12 ms to 68 min, and one for what is longer.
_PER_SECOND = 8192
BUCKET_ENDS = tuple(2**n / _PER_SECOND for n in range(26))
_LAST = len(BUCKET_ENDS)


@dataclass(slots=True)
class TimeHistogram:
    """Counts times by powers of two; `counts` has one more than BUCKET_ENDS."""

    counts: list[int] = field(default_factory=lambda: [0] * (_LAST + 1))
    total: float = 0.0

    def add(self, seconds: float, count: int = 1) -> None:
        """A negative time (clocks differ) counts as none."""
        bucket = int(seconds * _PER_SECOND).bit_length() if seconds > 0 else 0
        self.counts[min(bucket, _LAST)] += count
        self.total += max(0.0, seconds) * count


@dataclass(slots=True)
class ClassStats:
    """Of one class in one process. Times in seconds."""

    name: str = ""
    queue: str = ""
    claimed: int = 0
    done: int = 0
    retried: int = 0
    dead: int = 0
    released: int = 0
    deleted: int = 0  # dropped: their names were deleted before they ran
    purged: int = 0  # dropped: added before their queue was purged
    latency: TimeHistogram = field(default_factory=TimeHistogram)  # from when it was due to the start of its handler
    duration: TimeHistogram = field(default_factory=TimeHistogram)  # of its handler, of its whole batch
    tell_from: float = 0.0  # when a success is logged again, on the monotonic clock


# What happened to a task, in the order of its life.
CLASS_EVENTS = ("claimed", "done", "retried", "dead", "released", "deleted", "purged")


class WorkerStats:
    """Of one worker over all its incarnations."""

    def __init__(self) -> None:
        self.classes: dict[int, ClassStats] = {}
        self.unknown = ClassStats()
        self.rejected = 0  # ended here, but no longer ours
        self.reaped = 0  # freed from dead processes
        self.rescued = 0  # freed without an owner: should stay 0

    def of(self, class_id: int) -> ClassStats:
        return self.classes.get(class_id, self.unknown)

    @property
    def claimed(self) -> int:
        return self._sum("claimed")

    @property
    def done(self) -> int:
        return self._sum("done")

    @property
    def retried(self) -> int:
        return self._sum("retried")

    @property
    def dead(self) -> int:
        return self._sum("dead")

    @property
    def released(self) -> int:
        return self._sum("released")

    @property
    def deleted(self) -> int:
        return self._sum("deleted")

    @property
    def purged(self) -> int:
        return self._sum("purged")

    def _sum(self, event: str) -> int:
        return sum(getattr(stats, event) for stats in (self.unknown, *self.classes.values()))
