"""Periods in which slots start nothing, in order and without overlaps."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from ostinato.scheduling.schedule.schedule_terms import Blackout

_INSTANT = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class BlackoutPeriods:
    """`starts` and `ends` are parallel and both ascend."""

    starts: tuple[datetime, ...] = ()
    ends: tuple[datetime, ...] = ()

    @classmethod
    def join(cls, blackouts: Iterable[Blackout]) -> BlackoutPeriods:
        """What overlaps or touches becomes one period."""
        starts: list[datetime] = []
        ends: list[datetime] = []
        for blackout in sorted(blackouts, key=lambda blackout: blackout.start):
            if ends and blackout.start <= ends[-1]:
                ends[-1] = max(ends[-1], blackout.end)
            else:
                starts.append(blackout.start)
                ends.append(blackout.end)
        return cls(tuple(starts), tuple(ends))

    def end_of(self, at: datetime) -> datetime | None:
        """The end of the period that `at` lies in, None if in none."""
        index = bisect_right(self.starts, at) - 1
        return self.ends[index] if index >= 0 and at < self.ends[index] else None

    def within(self, first: datetime, until: datetime) -> BlackoutPeriods:
        """What they cover of [first, until]."""
        covered = [
            (max(start, first), min(end, until + _INSTANT))
            for start, end in zip(self.starts, self.ends, strict=True)
            if start <= until and end > first
        ]
        return BlackoutPeriods(tuple(start for start, _ in covered), tuple(end for _, end in covered))
