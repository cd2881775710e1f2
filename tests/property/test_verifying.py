"""The audit of slots against one that looks at each slot there is: it finds what is wrong, and no more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ostinato.scheduling.occurrence import OccurrenceOutcome
from ostinato.scheduling.slot_history import Recorded, SlotHistory, Window
from ostinato.scheduling.verifying import Fault, Verification, verify_slots
from tests.property.slot_keeper import SlotKeeper
from tests.property.test_cron_machine_walks import SCHEDULES, START

NEVER_LATE = timedelta(days=10_000)
SECOND = timedelta(seconds=1)
EVENTS = st.sampled_from(
    ["look", "look", "look", "triage", "triage", "end_runs", "edit", "edit", "pause", "resume", "disable", "enable"]
)
STEPS = st.one_of(
    st.timedeltas(timedelta(0), timedelta(minutes=3)),
    st.timedeltas(timedelta(0), timedelta(hours=4)),
    st.integers(0, 40).map(lambda minutes: timedelta(minutes=minutes)),
)


@st.composite
def keepers(draw: st.DrawFn) -> SlotKeeper:
    """A job that lived for some time."""
    keeper = SlotKeeper(START + draw(STEPS), draw(SCHEDULES))
    for event in draw(st.lists(EVENTS, min_size=3, max_size=25)):
        keeper.pass_time(draw(STEPS))
        if event == "edit":
            keeper.edit(draw(SCHEDULES))
        else:
            getattr(keeper, event)()
    return keeper


def verify(history: SlotHistory, start: datetime, now: datetime, *, most: int = 1_000_000) -> Verification:
    """With no more rows than a query for the window finds."""
    rows = [row for row in history.rows if row.slot >= start or (row.until_slot is not None and row.until_slot > start)]
    pending = [slot for slot in history.pending if slot >= start]
    found = replace(history, rows=rows, pending=pending)
    return verify_slots(found, Window(start, now, now), late_after=NEVER_LATE, most=most)


def slots_of(history: SlotHistory, now: datetime) -> Iterator[datetime]:
    """One by one, as they should have an outcome."""
    ends = [span.from_at for span in history.spans[1:]] + [now]
    for before, span, end in zip([None, *history.spans], history.spans, ends, strict=False):
        if not span.has_ledger or span.timetable is None:
            continue
        is_first_at = span is history.spans[0] and span.schedule.startswith("at ")
        resumes = before is not None and before.enabled and before.schedule == "triggered"
        begin = span.from_at - timedelta(microseconds=1) if resumes else span.from_at
        slot = span.timetable.next_after(START - timedelta(days=1) if is_first_at else begin)
        while slot is not None and slot <= end and (history.planned_slot is None or slot < history.planned_slot):
            yield slot
            slot = span.timetable.next_after(slot)


def outcomes_of(history: SlotHistory, slots: list[datetime]) -> Counter[datetime]:
    found: Counter[datetime] = Counter(history.pending)
    for row in history.rows:
        if row.until_slot is not None:
            found.update(slot for slot in slots if row.slot <= slot < row.until_slot)
        elif row.outcome is not OccurrenceOutcome.SKIPPED_DST_GAP:
            found[row.slot] += 1
    return found


def check(history: SlotHistory, now: datetime) -> None:
    slots = list(slots_of(history, now))
    outcomes = outcomes_of(history, slots)
    missing = [slot for slot in slots if not outcomes[slot]]
    doubled = {slot for slot in slots if outcomes[slot] > 1}
    ranges = [row for row in history.rows if row.until_slot is not None]
    told = verify(history, START - timedelta(days=1), now)
    holes = [found for found in told.faults if found.fault is Fault.MISSING]
    assert told.counts[Fault.MISSING] == len(missing) == sum(found.count for found in holes)
    assert {found.slot for found in holes} <= set(missing)
    assert all(found.last_slot is None or found.last_slot in missing for found in holes)
    # Where ranges overlap, the first slot stands for those behind it.
    named = {found.slot for found in told.faults if found.fault is Fault.DUPLICATED}
    alone = {slot for slot in doubled if not any(row.slot < slot < (row.until_slot or slot) for row in ranges)}
    assert alone <= named <= doubled
    assert bool(named) == bool(doubled)


def check_only_fault(told: Verification, fault: Fault, row: Recorded) -> None:
    """That of a range is told once for each schedule that was in force meanwhile."""
    assert {found.fault for found in told.faults} == {fault}
    assert told.faults[0].slot == row.slot
    end = row.until_slot or row.slot + SECOND
    assert all(found.slot < end for found in told.faults)


@settings(max_examples=60)
@given(keepers())
def test_a_ledger_that_nobody_touched_is_clean_at_every_moment(keeper: SlotKeeper) -> None:
    told = verify(keeper.history, START - timedelta(days=1), keeper.now)
    assert told.faults == []
    check(keeper.history, keeper.now)


@settings(max_examples=60)
@given(keepers(), st.data())
def test_a_hole_anywhere_is_found_and_nothing_else(keeper: SlotKeeper, data: st.DataObject) -> None:
    rows = keeper.rows
    assume(rows)
    gone = rows.pop(data.draw(st.integers(0, len(rows) - 1)))
    told = verify(keeper.history, START - timedelta(days=1), keeper.now)
    check_only_fault(told, Fault.MISSING, gone)
    check(keeper.history, keeper.now)


@settings(max_examples=60)
@given(keepers(), st.data())
def test_a_double_anywhere_is_found_and_nothing_else(keeper: SlotKeeper, data: st.DataObject) -> None:
    assume(keeper.rows)
    row = data.draw(st.sampled_from(keeper.rows))
    keeper.rows.append(replace(row))
    told = verify(keeper.history, START - timedelta(days=1), keeper.now)
    check_only_fault(told, Fault.DUPLICATED, row)
    check(keeper.history, keeper.now)


@settings(max_examples=60)
@given(keepers(), st.data())
def test_an_outcome_of_no_slot_is_found(keeper: SlotKeeper, data: st.DataObject) -> None:
    """Half a second is no slot of anything."""
    life = (keeper.now - START) // SECOND
    at = START + data.draw(st.integers(-100, life)) * SECOND - SECOND / 2
    in_force = [span for span in keeper.spans if span.from_at <= at]
    assume(not in_force or not in_force[-1].paused)
    keeper.rows.append(Recorded(at, OccurrenceOutcome.STARTED, at, None, "p/j/0"))
    told = verify(keeper.history, START - timedelta(days=1), keeper.now)
    assert [(found.fault, found.slot) for found in told.faults] == [(Fault.UNEXPECTED, at)]


@settings(max_examples=60)
@given(keepers(), st.data())
def test_whatever_damage_is_found_as_by_looking_at_every_slot(keeper: SlotKeeper, data: st.DataObject) -> None:
    for _ in range(data.draw(st.integers(1, 4))):
        assume(keeper.rows)
        number = data.draw(st.integers(0, len(keeper.rows) - 1))
        row = keeper.rows[number]
        match data.draw(st.sampled_from(["drop", "double", "shorten", "stretch"])):
            case "drop":
                keeper.rows.pop(number)
            case "double":
                keeper.rows.append(replace(row, outcome=OccurrenceOutcome.EXPIRED))
            case "shorten" if row.until_slot is not None:
                keeper.rows[number] = replace(row, until_slot=row.slot + (row.until_slot - row.slot) / 2)
            case _ if row.outcome is not OccurrenceOutcome.SKIPPED_DST_GAP:
                until = row.slot + data.draw(st.timedeltas(SECOND, timedelta(hours=2)))
                keeper.rows[number] = replace(row, until_slot=until)
    check(keeper.history, keeper.now)


@settings(max_examples=60)
@given(keepers(), st.integers(1, 40), st.data())
def test_in_pages_it_finds_what_it_finds_at_once(keeper: SlotKeeper, most: int, data: st.DataObject) -> None:
    for _ in range(data.draw(st.integers(0, 5))):
        if keeper.rows:
            keeper.rows.pop(data.draw(st.integers(0, len(keeper.rows) - 1)))
    start: datetime | None = START - timedelta(days=1)
    assume(verify(keeper.history, START - timedelta(days=1), keeper.now).slots < 2_000)
    pages = []
    while start is not None:
        pages.append(verify(keeper.history, start, keeper.now, most=most))
        assert pages[-1].next_start is None or pages[-1].next_start > start
        start = pages[-1].next_start
    whole = verify(keeper.history, START - timedelta(days=1), keeper.now)
    assert sum((Counter(page.counts) for page in pages), Counter()) == Counter(whole.counts)
    assert sum(page.slots for page in pages) == whole.slots
    assert sum(page.pending for page in pages) == whole.pending
