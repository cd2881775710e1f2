"""Whether each slot of a job has exactly one outcome. Pure: from what is stored to what is wrong with it.

The slots follow from the schedules that were in force, the outcomes are in the ledger; both are walked through side by
side. A range that was skipped costs two look-ups of the schedule, however many slots lie in it.

- Slots in (from_at, next from_at] are of the schedule that begins at from_at: an edit settles all up to its instant.
- From the planned slot on nothing is decided yet. Before it each slot has an outcome, or its trigger is pending.
- Times that a gap of the clock leaves out have an outcome of their own, beside that of a slot of the same instant.
- In a pause there are no slots, but what is recorded of them is not wrong: resuming may catch up on them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from ostinato.scheduling.occurrence import OccurrenceOutcome
from ostinato.scheduling.schedule import AtSchedule, Timetable, TriggeredSchedule
from ostinato.scheduling.schedule.instant import format_instant
from ostinato.scheduling.slot_history import DISTANT_PAST, InForce, Recorded, SlotHistory, Window

# Of each kind of fault; all are counted.
MOST_TOLD = 100
_INSTANT = timedelta(microseconds=1)


class Fault(StrEnum):
    MISSING = "MISSING"
    DUPLICATED = "DUPLICATED"
    LATE = "LATE"
    UNEXPECTED = "UNEXPECTED"


@dataclass(frozen=True, slots=True)
class SlotFault:
    """`last_slot`: of `count` slots in a row, of which the first is `slot`. `text` is a sentence for people."""

    fault: Fault
    slot: datetime
    text: str
    last_slot: datetime | None = None
    count: int = 1


@dataclass(frozen=True, slots=True)
class OutcomeCount:
    slots: int
    ranges: int


@dataclass(frozen=True, slots=True)
class Verification:
    """`slots`: looked at one by one, which those inside of ranges are not. `pending`: fired, without an outcome yet.

    `faults` has MOST_TOLD of a kind at most, `counts` all slots. `next_start`: not done, go on there.
    """

    slots: int
    pending: int
    outcomes: Mapping[OccurrenceOutcome, OutcomeCount]
    counts: Counter[Fault]
    faults: Sequence[SlotFault]
    notes: Sequence[str]
    next_start: datetime | None


def verify_slots(history: SlotHistory, window: Window, *, late_after: timedelta, most: int) -> Verification:
    """Looks at `most` slots at most. A run that was started later than `late_after` after its slot was due is late."""
    audit = _Audit(history, window, late_after, most)
    stretches = list(_stretches(history, window))
    for stretch in stretches:
        audit.look_at(stretch)
    if audit.stopped_at is None:
        audit.look_at_plan()
        return audit.result(list(_notes(stretches, history.planned_slot, window)))
    looked_at = [stretch for stretch in stretches if stretch.after < audit.stopped_at]
    return audit.result(list(_notes(looked_at, None, window)))


@dataclass(frozen=True, slots=True)
class _Stretch:
    """The part (after, until] of the window, with what was in force; up to `last` its slots need outcomes."""

    after: datetime
    until: datetime
    last: datetime
    span: InForce | None
    following: Sequence[InForce] = ()

    def slots_of(self) -> Timetable | None:
        """The timetable, if it has slots that need outcomes."""
        return self.span.timetable if self.span is not None and self.span.has_ledger else None

    def due_time(self, timetable: Timetable, slot: datetime) -> datetime:
        """Edits that leave the slots as they are may have moved it while it waited.

        So may those that leave alone what waited; whether all that waited with it was, nobody knows any more.
        """
        assert self.span is not None
        due, certain = max(timetable.due_time(slot), self.span.from_at), True
        for later in self.following:
            if later.from_at >= due or later.timetable is None:
                break
            if not timetable.agrees_on(later.timetable, slot, later.from_at):
                break
            certain = certain and timetable.has_same_slots(later.timetable)
            moved = max(later.timetable.due_time(slot), later.from_at)
            due = moved if certain else max(due, moved)
        return due


def _stretches(history: SlotHistory, window: Window) -> Iterator[_Stretch]:
    after = window.start - _INSTANT
    decided = history.planned_slot - _INSTANT if history.planned_slot is not None else window.end
    begins = [_begin(span, before) for before, span in zip([None, *history.spans], history.spans, strict=False)]
    if history.spans and _may_be_older_than_its_job(history.spans[0]):
        begins[0] = DISTANT_PAST
    ends = [*begins, window.end][1:]
    if (born := min(begins[0], window.end) if begins else window.end) > after:
        yield _Stretch(after, born, born, None)
    for number, (span, begin, end) in enumerate(zip(history.spans, begins, ends, strict=True)):
        first, until = max(after, begin), min(end, window.end)
        if first < until:
            yield _Stretch(first, until, min(until, decided), span, history.spans[number + 1 :])


def _begin(span: InForce, before: InForce | None) -> datetime:
    """Its slots lie strictly behind it. A slot at the instant of an edit is the old plan's, if that has slots."""
    timetable = None if before is None or not before.enabled else before.timetable
    resumes = timetable is not None and isinstance(timetable.schedule, TriggeredSchedule)
    return span.from_at - _INSTANT if resumes else span.from_at


def _may_be_older_than_its_job(span: InForce) -> bool:
    """A job that is created a little late runs all the same."""
    return span.has_ledger and span.timetable is not None and isinstance(span.timetable.schedule, AtSchedule)


@dataclass(slots=True)
class _Audit:
    history: SlotHistory
    window: Window
    late_after: timedelta
    most: int
    slots: int = 0
    stopped_at: datetime | None = None
    counts: Counter[Fault] = field(default_factory=Counter)
    faults: dict[Fault, list[SlotFault]] = field(default_factory=lambda: {fault: [] for fault in Fault})
    # What is recorded of slots, in order, and how far it has been looked at; of times that gaps leave out.
    records: list[Recorded] = field(init=False)
    position: int = 0
    gaps: list[Recorded] = field(init=False)
    # Ranges that begin no later than where the walk is.
    ranges: list[Recorded] = field(default_factory=list)
    # Slots in a row of which nothing is recorded: the first, the last, which is just behind us, and how many.
    hole: tuple[datetime, datetime, int] | None = None

    def __post_init__(self) -> None:
        rows = self.history.rows
        waiting = [Recorded(slot, None) for slot in self.history.pending]
        self.gaps = [row for row in rows if row.outcome is OccurrenceOutcome.SKIPPED_DST_GAP]
        slots = [row for row in rows if row.outcome is not OccurrenceOutcome.SKIPPED_DST_GAP]
        self.records = sorted([*slots, *waiting], key=lambda record: record.slot)
        self._take_until(self.window.start - _INSTANT)

    def look_at(self, stretch: _Stretch) -> None:
        if self.stopped_at is not None:
            return
        timetable = stretch.slots_of()
        if timetable is not None:
            self._walk(stretch, timetable)
            self._close_hole()
        until = stretch.until if self.stopped_at is None else self.stopped_at - _INSTANT
        self._pass(stretch, until)
        self._look_at_gaps(stretch, until)

    def _walk(self, stretch: _Stretch, timetable: Timetable) -> None:
        slot = timetable.next_after(stretch.after)
        while slot is not None and slot <= stretch.last:
            self._pass(stretch, slot - _INSTANT)
            if self.slots >= self.most:
                self.stopped_at = slot
                return
            self.slots += 1
            self._look_at_slot(stretch, timetable, slot)
            slot = timetable.next_after(self._same_until(slot))

    def _look_at_slot(self, stretch: _Stretch, timetable: Timetable, slot: datetime) -> None:
        taken = self._take_until(slot)
        self.ranges = [row for row in self.ranges if row.until_slot is not None and row.until_slot > slot]
        found = [*(row for row in taken if row.until_slot is None), *self.ranges]
        if not found:
            self._miss(slot)
            return
        self._close_hole()
        if len(found) > 1:
            text = f"The slot of {format_instant(slot)} has {len(found)} outcomes: {', '.join(map(_told, found))}."
            self._find(SlotFault(Fault.DUPLICATED, slot, text))
        for row in found:
            if row.outcome is OccurrenceOutcome.STARTED:
                self._check_start(row, slot, lambda: stretch.due_time(timetable, slot))

    def _same_until(self, slot: datetime) -> datetime:
        """Up to there all slots are in the same ranges as `slot`, and nothing else is recorded of them."""
        if not self.ranges:
            return slot
        ends = [row.until_slot for row in self.ranges if row.until_slot is not None]
        if self.position < len(self.records):
            ends.append(self.records[self.position].slot)
        return min(ends) - _INSTANT

    def _miss(self, slot: datetime) -> None:
        """Those in a row are told as one."""
        first, _, count = self.hole or (slot, slot, 0)
        self.hole = first, slot, count + 1

    def _close_hole(self) -> None:
        if self.hole is None:
            return
        (first, last, count), self.hole = self.hole, None
        if count == 1:
            text = f"Nothing is recorded of the slot of {format_instant(first)}."
            self._find(SlotFault(Fault.MISSING, first, text))
        else:
            span = f"from {format_instant(first)} to {format_instant(last)}"
            text = f"Nothing is recorded of {count:,} slots, {span}."
            self._find(SlotFault(Fault.MISSING, first, text, last, count))

    def _check_start(self, row: Recorded, slot: datetime, due_time: Callable[[], datetime]) -> None:
        if row.decided_at is None or row.decided_at - slot <= self.late_after:
            return
        due = due_time()
        late = row.decided_at - due
        if late > self.late_after:
            text = f"The slot of {format_instant(slot)} started its run {row.run} {_length(late)} after it was due"
            self._find(SlotFault(Fault.LATE, slot, f"{text}, at {format_instant(due)}."))

    def _take_until(self, until: datetime) -> list[Recorded]:
        """What begins up to then and was not taken yet."""
        begin = self.position
        while self.position < len(self.records) and self.records[self.position].slot <= until:
            self.position += 1
        taken = self.records[begin : self.position]
        self.ranges += [row for row in taken if row.until_slot is not None]
        return taken

    def _pass(self, stretch: _Stretch, until: datetime) -> None:
        """No slot that needs an outcome is there up to then."""
        for row in self._take_until(until):
            self._question(stretch, row)

    def _question(self, stretch: _Stretch, row: Recorded) -> None:
        if stretch.span is None or not stretch.span.may_have_rows:
            what = _told(row) if row.outcome is None else f"the outcome {_told(row)}"
            text = f"{format_instant(row.slot)} has {what}, {_why_not(stretch, row.slot)}."
            self._find(SlotFault(Fault.UNEXPECTED, row.slot, text))

    def _look_at_gaps(self, stretch: _Stretch, until: datetime) -> None:
        timetable = stretch.slots_of()
        left_out = set() if timetable is None else set(timetable.left_out(stretch.after, min(until, stretch.last)))
        rows = [row for row in self.gaps if stretch.after < row.slot <= until]
        times = Counter(row.slot for row in rows)
        for at in sorted(left_out):
            self.slots += 1
            where = f"the time that the clock leaves out before {format_instant(at)}"
            if times[at] > 1:
                self._find(SlotFault(Fault.DUPLICATED, at, f"{times[at]} times is recorded: {where}."))
            if not times[at] and not any(_covers(row, at) for row in self.history.rows):
                self._find(SlotFault(Fault.MISSING, at, f"Nothing is recorded of {where}."))
        for row in rows:
            if row.slot not in left_out:
                self._question(stretch, row)

    def look_at_plan(self) -> None:
        """The slot that is next should not be overdue either."""
        slot, span = self.history.planned_slot, self.history.spans[-1] if self.history.spans else None
        if slot is None or span is None or span.timetable is None or not span.has_ledger:
            return
        late = self.window.now - span.timetable.due_time(slot)
        if self.window.start <= slot <= self.window.end and late > self.late_after:
            text = f"The slot of {format_instant(slot)} has not fired yet, {_length(late)} after it was due."
            self._find(SlotFault(Fault.LATE, slot, text))

    def _find(self, found: SlotFault) -> None:
        self.counts[found.fault] += found.count
        if len(self.faults[found.fault]) < MOST_TOLD:
            self.faults[found.fault].append(found)

    def result(self, notes: Sequence[str]) -> Verification:
        before = self.stopped_at or self.window.end + _INSTANT
        rows = [row for row in self.history.rows if row.slot < before]
        singles = Counter(row.outcome for row in rows if row.until_slot is None)
        ranges = Counter(row.outcome for row in rows if row.until_slot is not None)
        return Verification(
            slots=self.slots,
            pending=sum(slot < before for slot in self.history.pending),
            outcomes={
                outcome: OutcomeCount(singles[outcome], ranges[outcome])
                for outcome in OccurrenceOutcome
                if singles[outcome] or ranges[outcome]
            },
            counts=self.counts,
            faults=sorted((each for some in self.faults.values() for each in some), key=lambda each: each.slot),
            notes=notes,
            next_start=self.stopped_at,
        )


def _covers(row: Recorded, at: datetime) -> bool:
    return row.until_slot is not None and row.slot <= at < row.until_slot


def _why_not(stretch: _Stretch, slot: datetime) -> str:
    if stretch.span is None:
        return "and the job did not exist then"
    if not stretch.span.enabled:
        return "and the job was disabled then"
    if slot > stretch.last:
        return "and its turn has not come"
    return f"and is no slot of the schedule that was in force, `{stretch.span.schedule}`"


def _told(row: Recorded) -> str:
    if row.outcome is None:
        return "a pending trigger"
    details = [f"of {row.run}"] if row.run else []
    if row.until_slot is not None:
        details.append(f"for all from {format_instant(row.slot)} up to {format_instant(row.until_slot)}")
    if row.decided_at is not None:
        details.append(f"decided at {format_instant(row.decided_at)}")
    return f"{row.outcome.name} ({', '.join(details)})" if details else row.outcome.name


def _notes(stretches: Sequence[_Stretch], planned_slot: datetime | None, window: Window) -> Iterator[str]:
    """What people should know who wonder why so few slots were looked at. A kind of stretch is told once."""
    told: dict[str, str] = {}
    for stretch in stretches:
        if (why := _not_verified(stretch.span)) and why not in told:
            # Where a slot at the instant of the edit is the next one's, it ends just before.
            end = stretch.until + (_INSTANT if stretch.until.microsecond == 999_999 else timedelta())
            told[why] = f"{why}, from {format_instant(stretch.after + _INSTANT)} to {format_instant(end)}"
    for why, text in told.items():
        again = sum(_not_verified(stretch.span) == why for stretch in stretches) - 1
        yield f"{text}{f' (and {again} times more)' if again else ''}."
    if planned_slot is not None and planned_slot <= window.end:
        yield f"From {format_instant(planned_slot)} on no slot has fired yet."


def _not_verified(span: InForce | None) -> str:
    if span is None:
        return "The job did not exist yet"
    if span.timetable is None:
        return f"The schedule `{span.schedule}` can't be read here, so its slots are not known"
    if not span.enabled:
        return "It was disabled, and had no slots"
    if span.paused and isinstance(span.timetable.schedule, TriggeredSchedule):
        return "It was paused, and had no slots"
    if not span.timetable.is_absolute or isinstance(span.timetable.schedule, TriggeredSchedule):
        return f"`{span.schedule}` has no slots, so there is nothing to verify"
    return ""


def _length(late: timedelta) -> str:
    seconds = late // timedelta(seconds=1)
    return f"{seconds:,} s" if seconds < 600 else f"{seconds // 60:,} min"
