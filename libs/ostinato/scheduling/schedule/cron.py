"""Cron schedules in a time zone. A look-up takes microseconds; it never walks through time.

If the hour is restricted, an expression means times on the wall clock: one that a gap leaves out is moved to the first
instant after the gap or has no slot, and of one that a fold shows twice the first, the last or both are slots. Times
moved to one instant are one slot. With `*` in the hour every instant at which the wall clock matches is a slot.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import ClassVar

from ostinato.scheduling.schedule.cron_expression import CronExpression
from ostinato.scheduling.schedule.cron_times import CronTimes
from ostinato.scheduling.schedule.zone import Zone

_EPOCH, _WALL_EPOCH = datetime(1970, 1, 1, tzinfo=UTC), datetime(1970, 1, 1)  # noqa: DTZ001
_ONE_SECOND = timedelta(seconds=1)
# All slots lie between: years 1970 to 2099 of any zone.
_BEGINNING = -2 * 86_400
_END = (datetime(2100, 1, 3, tzinfo=UTC) - _EPOCH) // _ONE_SECOND


class GapPolicy(IntEnum):
    """What becomes of a time that the wall clock leaves out. Numbers as in `Job.GapPolicy`."""

    SHIFT = 1
    SKIP = 2


class FoldPolicy(IntEnum):
    """Which of the two instants of a time that the wall clock shows twice. Numbers as in `Job.FoldPolicy`."""

    FIRST = 1
    LAST = 2
    BOTH = 3


@dataclass(frozen=True, slots=True)
class ClockNote:
    """`wall` is what the clock shows; `comes_again` and `came_before`: in the first or second turn of a fold."""

    wall: datetime
    is_after_gap: bool
    comes_again: bool
    came_before: bool


@dataclass(frozen=True, slots=True)
class CronSchedule:
    """`is_elapsed`: the hour is `*`, so policies have nothing to decide."""

    text: str
    times: CronTimes
    is_elapsed: bool
    zone: Zone
    gap_policy: GapPolicy
    fold_policy: FoldPolicy

    is_absolute: ClassVar[bool] = True
    last_instant: ClassVar[datetime] = _EPOCH + timedelta(seconds=_END)

    @classmethod
    def compile(
        cls, text: str, expression: CronExpression, zone: Zone, gap_policy: GapPolicy, fold_policy: FoldPolicy
    ) -> CronSchedule:
        is_elapsed = not expression.hour.is_restricted
        return cls(text, CronTimes.compile(expression), is_elapsed, zone, gap_policy, fold_policy)

    def next_after(self, after: datetime, *, last_rewind_at: datetime | None = None) -> datetime | None:  # noqa: ARG002
        """The first slot strictly after `after`; None if there is none up to the end of the zone's 2099."""
        start = max((after - _EPOCH) // _ONE_SECOND + 1, _BEGINNING)
        stretch = bisect_right(self.zone.starts, start) - 1
        while start < _END:
            begin = start + self.zone.offsets[stretch]
            found = self._shifted_to(stretch) if start == self.zone.starts[stretch] else None
            match = None if found is not None else self._first_wall(self._first_shown(stretch, begin))
            if match is not None and match < self._last_shown(stretch):
                found = match - self.zone.offsets[stretch]
            if found is not None:
                return _EPOCH + timedelta(seconds=found)
            if match is None and self.zone.shown_after[stretch] >= begin:
                return None
            stretch = self._stretch_after(stretch, begin, match)
            if stretch == len(self.zone.starts):
                return None
            start = self.zone.starts[stretch]
        return None

    @property
    def leaves_out(self) -> bool:
        """Whether times in a gap have no slot."""
        return not self.is_elapsed and self.gap_policy is GapPolicy.SKIP

    def skipped_in_gaps(self, after: datetime, until: datetime) -> Iterator[datetime]:
        """Instants in (after, until] that times without a slot would have been moved to."""
        if not self.leaves_out:
            return
        first, last = (after - _EPOCH) // _ONE_SECOND + 1, (until - _EPOCH) // _ONE_SECOND
        for stretch in range(bisect_left(self.zone.starts, first), bisect_right(self.zone.starts, last)):
            if self._matches_in_gap(stretch):
                yield _EPOCH + timedelta(seconds=self.zone.starts[stretch])

    def clock_at(self, slot: datetime) -> ClockNote:
        """What the wall clock shows at a slot. Instants of shifted times are after a gap, whatever else is there."""
        at = (slot - _EPOCH) // _ONE_SECOND
        stretch = bisect_right(self.zone.starts, at) - 1
        wall = at + self.zone.offsets[stretch]
        return ClockNote(
            wall=_WALL_EPOCH + timedelta(seconds=wall),
            is_after_gap=at == self.zone.starts[stretch] and self._shifted_to(stretch) is not None,
            comes_again=wall >= self.zone.shown_after[stretch],
            came_before=wall < self.zone.shown_before[stretch],
        )

    def _shifted_to(self, stretch: int) -> int | None:
        """Its begin, if times of the gap before it are moved there."""
        shifts = not self.is_elapsed and self.gap_policy is GapPolicy.SHIFT
        return self.zone.starts[stretch] if shifts and self._matches_in_gap(stretch) else None

    def _matches_in_gap(self, stretch: int) -> bool:
        begin = self.zone.starts[stretch] + self.zone.offsets[stretch]
        if self.zone.shown_before[stretch] >= begin:
            return False
        match = self._first_wall(self.zone.shown_before[stretch])
        return match is not None and match < begin

    def _first_shown(self, stretch: int, begin: int) -> int:
        """From where on its wall clock counts."""
        only_first = not self.is_elapsed and self.fold_policy is FoldPolicy.FIRST
        return max(begin, self.zone.shown_before[stretch]) if only_first else begin

    def _last_shown(self, stretch: int) -> int:
        """Until where."""
        end = self.zone.end_of(stretch) + self.zone.offsets[stretch]
        only_last = not self.is_elapsed and self.fold_policy is FoldPolicy.LAST
        return min(end, self.zone.shown_after[stretch]) if only_last else end

    def _stretch_after(self, stretch: int, begin: int, match: int | None) -> int:
        """The next that can have a slot: nothing from `begin` to `match` on the wall clock is one."""
        if match is None or self.zone.shown_after[stretch] < begin:
            return stretch + 1
        return max(stretch + 1, bisect_right(self.zone.reached, match))

    def _first_wall(self, start: int) -> int | None:
        match = self.times.first_from(_WALL_EPOCH + timedelta(seconds=start))
        return None if match is None else (match - _WALL_EPOCH) // _ONE_SECOND
