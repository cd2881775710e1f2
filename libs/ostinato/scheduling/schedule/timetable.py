"""A job's schedule with all its terms: which slots there are, which of them start something, and when each is due.

Slots of absolute schedules that start nothing (in a blackout) and times that a gap of the clock leaves out are known
too, because each has an outcome in the ledger.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

from ostinato.scheduling.occurrence import OccurrenceOutcome
from ostinato.scheduling.schedule.blackouts import BlackoutPeriods
from ostinato.scheduling.schedule.cron import CronSchedule
from ostinato.scheduling.schedule.due_time import Delay
from ostinato.scheduling.schedule.parse_schedule import CronTerms, Schedule, parse_schedule
from ostinato.scheduling.schedule.schedule_terms import ScheduleTerms
from ostinato.scheduling.schedule.zone import UTC_ZONE, Zone

_INSTANT = timedelta(microseconds=1)
_SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Plan:
    """`slot` is the next that needs an outcome; `due_at` is when it, or the first behind it that starts, is due."""

    slot: datetime
    due_at: datetime


@dataclass(frozen=True, slots=True)
class PassedOver:
    """Slots in [slot, until_slot), or `slot` alone, that start nothing, and why."""

    slot: datetime
    until_slot: datetime | None
    outcome: OccurrenceOutcome


@dataclass(frozen=True, slots=True)
class Timetable:
    """`text` is the expression, `delay` and `periods` follow from the terms."""

    schedule: Schedule
    terms: ScheduleTerms
    delay: Delay
    periods: BlackoutPeriods

    @classmethod
    def make(
        cls, text: str, terms: ScheduleTerms | None = None, *, zone: Zone = UTC_ZONE, job_name: str | None = None
    ) -> Timetable:
        """`zone` is that of the terms. Raises ScheduleError."""
        terms = ScheduleTerms() if terms is None else terms
        schedule = parse_schedule(text, CronTerms(zone, terms.gap_policy, terms.fold_policy, job_name))
        delay = Delay(job_name or "", terms.offset, terms.jitter)
        return cls(schedule, terms, delay, BlackoutPeriods.join(terms.blackouts))

    @property
    def text(self) -> str:
        return self.schedule.text

    @property
    def is_absolute(self) -> bool:
        return self.schedule.is_absolute

    def next_after(self, after: datetime, *, last_rewind_at: datetime | None = None) -> datetime | None:
        """The next slot strictly after `after`, whether in a blackout or not."""
        if self.terms.start_after is not None:
            after = max(after, self.terms.start_after)
        slot = self.schedule.next_after(after, last_rewind_at=last_rewind_at)
        return slot if slot is not None and self._is_before_end(slot) else None

    def start_after(self, after: datetime) -> datetime | None:
        """The next slot strictly after `after` that starts something."""
        slot = self.next_after(after)
        while slot is not None and (end := self.periods.end_of(slot)) is not None:
            slot = self.next_after(end - _INSTANT)
        return slot

    def start_from(self, slot: datetime) -> datetime | None:
        """The same, `slot` included. It is a slot, or a time that a gap leaves out."""
        if not self.periods.starts and not self._leaves_out:
            return slot
        return self.start_after(slot - _INSTANT)

    def newest_starts(self, first: datetime, until: datetime, most: int) -> list[datetime]:
        """The newest `most` of the slots in [first, until] that start something, oldest first.

        Slots can be looked up forward only. So it looks back, from the last one each time, by spans: longer and longer
        ones, and a shorter one where a span holds too many. However many slots there are, it looks up a few times
        `most`, and the logarithm of the time for each change in how dense they are.
        """
        found: list[datetime] = []
        span = most * _SECOND
        while len(found) < most and (last := self._last_start(first, until)) is not None:
            after = max(last - span, first - _INSTANT)
            enough = 2 * (most - len(found))
            starts = list(islice(self._starts(after, last), enough + 1))
            if len(starts) > enough:
                # If they were as dense everywhere, half of this time would do.
                span = max(min(span, starts[-1] - after) / 2, _SECOND)
            else:
                found, until = [*starts, *found], after
                span *= 2
        return found[-most:]

    def _last_start(self, first: datetime, until: datetime) -> datetime | None:
        """The newest slot in [first, until] that starts something: by longer and longer steps back, then by halves."""
        step, end = _SECOND, until
        while (last := self._start_between(max(until - step, first - _INSTANT), until)) is None:
            if until - step < first:
                return None
            step, end = step * 4, until - step
        while end - last >= _SECOND:  # none lies behind `end`
            middle = last + (end - last) / 2
            later = self._start_between(middle, until)
            last, end = (last, middle) if later is None else (later, end)
        return last

    def _start_between(self, after: datetime, until: datetime) -> datetime | None:
        """The first in (after, until]."""
        start = self.start_after(after)
        return start if start is not None and start <= until else None

    def _starts(self, after: datetime, until: datetime) -> Iterator[datetime]:
        """Slots in (after, until] that start something."""
        slot = self.next_after(after)
        while slot is not None and slot <= until:
            end = self.periods.end_of(slot)
            if end is None:
                yield slot
            slot = self.next_after(slot if end is None else end - _INSTANT)

    def plan_after(self, after: datetime, *, last_rewind_at: datetime | None = None) -> Plan | None:
        """What comes strictly after `after`."""
        slot = self.next_after(after, last_rewind_at=last_rewind_at)
        if not self.is_absolute:
            return None if slot is None else Plan(slot, slot)
        first = min((at for at in (slot, self._first_left_out(after, slot)) if at is not None), default=None)
        return None if first is None else Plan(first, self.due_time(first))

    def due_time(self, slot: datetime) -> datetime:
        """When `slot` or the first behind it that starts something is due; the outcome of others can wait as long."""
        start = self.start_from(slot)
        return self.delay.due_time(start) if start is not None else self.periods.end_of(slot) or slot

    def passed_over(self, first: datetime, until: datetime) -> Iterator[PassedOver]:
        """What starts nothing in [first, until]: times that a gap leaves out, then slots in blackouts."""
        for at in self.left_out(first - _INSTANT, until):
            yield PassedOver(at, None, OccurrenceOutcome.SKIPPED_DST_GAP)
        slot = self.next_after(first - _INSTANT) if self.periods.starts else None
        while slot is not None and slot <= until:
            end = self.periods.end_of(slot)
            if end is not None:
                yield PassedOver(slot, min(end, _second_after(until)), OccurrenceOutcome.SKIPPED_BLACKOUT)
            slot = self.next_after(slot if end is None else end - _INSTANT)

    def has_same_slots(self, other: Timetable) -> bool:
        """Whether the two differ in when their slots are due at most."""
        mine, others = self.terms, other.terms
        return (
            self.schedule == other.schedule
            and (mine.start_after, mine.end_before) == (others.start_after, others.end_before)
            and self.periods == other.periods
        )

    def agrees_on(self, other: Timetable, first: datetime, until: datetime) -> bool:
        """Whether the two have the same slots in [first, until], of which the same start something."""
        mine, others = (self._within(first, until), other._within(first, until))
        return self.schedule == other.schedule and mine == others

    def _within(self, first: datetime, until: datetime) -> tuple[object, ...]:
        """All that decides, beside the schedule, about slots in [first, until]."""
        start_after, end_before = self.terms.start_after, self.terms.end_before
        return (
            None if start_after is None or start_after < first else min(start_after, until),
            None if end_before is None or end_before > until else max(end_before, first),
            self.periods.within(first, until),
        )

    def _is_before_end(self, slot: datetime) -> bool:
        return self.terms.end_before is None or slot < self.terms.end_before

    @property
    def _leaves_out(self) -> bool:
        return isinstance(self.schedule, CronSchedule) and self.schedule.leaves_out

    def _first_left_out(self, after: datetime, until: datetime | None) -> datetime | None:
        if not self._leaves_out:
            return None
        return next(self.left_out(after, CronSchedule.last_instant if until is None else until), None)

    def left_out(self, after: datetime, until: datetime) -> Iterator[datetime]:
        """Instants in (after, until], outside of blackouts, for times that a gap of the clock leaves out."""
        if not isinstance(self.schedule, CronSchedule) or not self.schedule.leaves_out:
            return
        if self.terms.start_after is not None:
            after = max(after, self.terms.start_after)
        for at in self.schedule.skipped_in_gaps(after, until):
            if self._is_before_end(at) and self.periods.end_of(at) is None:
                yield at


def _second_after(at: datetime) -> datetime:
    """Slots are whole seconds: the first that can come after `at`."""
    return at.replace(microsecond=0) + _SECOND
