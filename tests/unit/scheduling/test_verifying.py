"""The audit of slots: what counts as late, what is told, and what is not judged."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from ostinato.scheduling.occurrence import OccurrenceOutcome
from ostinato.scheduling.schedule import ScheduleTerms, Timetable
from ostinato.scheduling.slot_history import InForce, Recorded, SlotHistory, Window
from ostinato.scheduling.verifying import MOST_TOLD, Fault, Verification, verify_slots

T0 = datetime(2026, 3, 1, tzinfo=UTC)
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)


def hourly(offset: timedelta = timedelta(0)) -> Timetable:
    return Timetable.make("every 1h", ScheduleTerms(offset=offset))


def in_force(timetable: Timetable, from_at: datetime = T0, *, paused: bool = False, enabled: bool = True) -> InForce:
    return InForce(from_at, timetable.text, timetable, paused, enabled)


def started(slot: datetime, decided_at: datetime) -> Recorded:
    return Recorded(slot, OccurrenceOutcome.STARTED, decided_at, None, "p/j/1")


def verify(
    *spans: InForce, rows: Sequence[Recorded] = (), until: datetime = T0 + HOUR, planned: datetime | None = None
) -> Verification:
    """From T0 to `until`, which is now."""
    history = SlotHistory(spans, rows, planned_slot=planned)
    return verify_slots(history, Window(T0 - 2 * HOUR, until, until), late_after=MINUTE, most=10_000)


def kinds(found: Verification) -> list[Fault]:
    return [each.fault for each in found.faults]


def test_lateness_counts_from_when_a_slot_is_due() -> None:
    slot, due = T0 + HOUR, T0 + HOUR + 10 * MINUTE
    span = in_force(hourly(offset=10 * MINUTE))
    now = due + HOUR / 2
    assert kinds(verify(span, rows=[started(slot, due + MINUTE)], until=now)) == []
    late = verify(span, rows=[started(slot, due + 3 * MINUTE)], until=now)
    assert kinds(late) == [Fault.LATE]
    assert late.faults[0].text == (
        "The slot of 2026-03-01T01:00:00Z started its run p/j/1 180 s after it was due, at 2026-03-01T01:10:00Z."
    )


def test_a_slot_that_waits_is_due_as_the_last_edit_says() -> None:
    slot = T0 + HOUR
    spans = (in_force(hourly(HOUR / 2)), in_force(hourly(3 * HOUR), slot + 10 * MINUTE))
    now = slot + 4 * HOUR
    in_time = [started(slot, slot + 3 * HOUR)]
    assert kinds(verify(*spans, rows=in_time, until=now, planned=slot + HOUR)) == []
    late = [started(slot, slot + 3 * HOUR + 2 * MINUTE)]
    assert kinds(verify(*spans, rows=late, until=now, planned=slot + HOUR)) == [Fault.LATE]


def test_slots_that_were_batched_are_not_late() -> None:
    rows = [
        Recorded(T0 + HOUR, OccurrenceOutcome.BATCHED, T0 + 2 * HOUR, None, "p/j/1"),
        started(T0 + 2 * HOUR, T0 + 2 * HOUR),
    ]
    assert kinds(verify(in_force(hourly()), rows=rows, until=T0 + 2 * HOUR)) == []


def test_a_job_that_is_created_after_its_only_slot_is_late_from_its_creation_on() -> None:
    once = Timetable.make("at 2026-02-28T23:00:00Z")
    rows = [started(T0 - HOUR, T0 + MINUTE)]
    assert kinds(verify(in_force(once), rows=rows)) == []
    assert kinds(verify(in_force(once))) == [Fault.MISSING]
    assert kinds(verify(in_force(hourly(), T0), in_force(once, T0 + MINUTE))) == []


def test_a_slot_that_nobody_fires_is_late_and_what_follows_it_is_not_looked_at() -> None:
    found = verify(in_force(hourly()), until=T0 + 5 * HOUR, planned=T0 + HOUR)
    assert kinds(found) == [Fault.LATE]
    assert found.slots == 0
    assert found.notes[-1] == "From 2026-03-01T01:00:00Z on no slot has fired yet."
    in_time = verify(in_force(hourly()), until=T0 + HOUR + MINUTE, planned=T0 + HOUR)
    assert kinds(in_time) == []


def test_an_outcome_before_its_turn_is_unexpected() -> None:
    rows = [started(T0 + HOUR, T0 + HOUR)]
    found = verify(in_force(hourly()), rows=rows, planned=T0 + HOUR)
    assert kinds(found) == [Fault.UNEXPECTED]
    assert found.faults[0].text.endswith("and its turn has not come.")


def test_of_each_kind_a_hundred_are_told_and_all_are_counted() -> None:
    slots = [T0 + n * HOUR for n in range(1, 601)]
    rows = [started(slot, slot) for slot in slots[::2]]
    found = verify(in_force(hourly()), rows=[*rows, *rows[:150]], until=slots[-1])
    assert (found.counts[Fault.MISSING], found.counts[Fault.DUPLICATED]) == (300, 150)
    assert kinds(found).count(Fault.MISSING) == kinds(found).count(Fault.DUPLICATED) == MOST_TOLD


def test_a_pending_trigger_beside_an_outcome_is_a_double() -> None:
    slot = T0 + HOUR
    history = SlotHistory([in_force(hourly())], [started(slot, slot)], pending=[slot])
    found = verify_slots(history, Window(T0, slot, slot), late_after=MINUTE, most=10)
    assert kinds(found) == [Fault.DUPLICATED]
    assert found.faults[0].text.endswith("decided at 2026-03-01T01:00:00Z), a pending trigger.")


def test_what_is_recorded_of_a_pause_is_not_judged_and_of_a_disabled_job_it_is() -> None:
    triggered = Timetable.make("triggered")
    rows = [started(T0 + HOUR, T0 + 2 * HOUR)]
    until = T0 + 2 * HOUR
    paused = verify(in_force(triggered, paused=True), rows=rows, until=until)
    assert kinds(paused) == []
    assert paused.outcomes[OccurrenceOutcome.STARTED].slots == 1
    disabled = verify(in_force(hourly(), enabled=False), rows=rows, until=until)
    assert kinds(disabled) == [Fault.UNEXPECTED]


def test_what_is_not_judged_is_told_once() -> None:
    triggered = Timetable.make("triggered")
    spans = [in_force(hourly(), T0)]
    for n in range(3):
        spans.append(in_force(triggered, T0 + (10 + 2 * n) * MINUTE, paused=True))
        spans.append(in_force(hourly(), T0 + (11 + 2 * n) * MINUTE))
    assert verify(*spans, until=T0 + HOUR / 2).notes == [
        "The job did not exist yet, from 2026-02-28T22:00:00Z to 2026-03-01T00:00:00Z.",
        "It was paused, and had no slots, from 2026-03-01T00:10:00Z to 2026-03-01T00:11:00Z (and 2 times more).",
    ]


def test_a_job_without_any_schedule_on_record_has_nothing_to_judge() -> None:
    found = verify()
    assert (found.faults, found.slots) == ([], 0)


def test_a_range_that_began_before_the_window_covers_it_and_is_no_fault() -> None:
    skipped = Recorded(T0 - 3 * HOUR, OccurrenceOutcome.SKIPPED_CATCHUP, T0 + HOUR, T0 + HOUR + MINUTE)
    assert kinds(verify(in_force(hourly(), T0 - 9 * HOUR), rows=[skipped])) == []


def test_a_call_stops_at_its_bound_and_says_where_to_go_on() -> None:
    history = SlotHistory([in_force(hourly())], [])
    found = verify_slots(history, Window(T0, T0 + 9 * HOUR, T0 + 9 * HOUR), late_after=MINUTE, most=2)
    assert (found.slots, found.next_start, found.counts[Fault.MISSING]) == (2, T0 + 3 * HOUR, 2)


def test_a_gap_that_is_recorded_where_the_clock_has_none_is_unexpected() -> None:
    rows = [Recorded(T0 + HOUR / 2, OccurrenceOutcome.SKIPPED_DST_GAP, T0 + HOUR)]
    found = verify(in_force(hourly()), rows=[*rows, started(T0 + HOUR, T0 + HOUR)])
    assert kinds(found) == [Fault.UNEXPECTED]
