"""The cron machine with offset, jitter, blackouts, gaps of the clock, and schedules that run once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ostinato.scheduling.cron_machine import (
    MOST_LEFT_WAITING,
    CronState,
    CronStep,
    FiredSlot,
    SkippedRange,
    enable,
    on_delay_change,
    on_due,
    settle,
)
from ostinato.scheduling.occurrence import OccurrenceOutcome
from ostinato.scheduling.schedule import Blackout, GapPolicy, ScheduleTerms, Timetable
from ostinato.zones import load_zone

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
DELAYED = Timetable.make("0 * * * *", ScheduleTerms(offset=150 * MINUTE))
BLACKED_OUT = Timetable.make("0 * * * *", ScheduleTerms(blackouts=(Blackout(NOON + 2 * HOUR, NOON + 5 * HOUR),)))


def enabled(table: Timetable, now: datetime = NOON) -> CronState:
    return enable(CronState(), table, now).state


def slot_fired(step: CronStep) -> datetime | None:
    """It fires one at most."""
    assert len(step.fired) <= 1
    return step.fired[0].slot if step.fired else None


class TestOffset:
    def test_fires_the_slot_when_it_is_due_and_not_before(self) -> None:
        state = enabled(DELAYED)
        due = NOON + HOUR + 150 * MINUTE
        assert (state.slot, state.due_at) == (NOON + HOUR, due)
        assert on_due(state, DELAYED, due - SECOND) == CronStep(state)
        step = on_due(state, DELAYED, due)
        assert step.fired == (FiredSlot(state.generation + 1, NOON + HOUR, due),)
        assert (step.state.slot, step.state.due_at, step.skipped) == (NOON + 2 * HOUR, due + HOUR, ())

    def test_counts_as_missed_only_what_was_due(self) -> None:
        step = on_due(enabled(DELAYED), DELAYED, NOON + 6 * HOUR)
        assert slot_fired(step) == NOON + HOUR
        assert step.skipped == (SkippedRange(NOON + 2 * HOUR, NOON + 3 * HOUR + 30 * MINUTE + SECOND),)
        assert step.state.slot == NOON + 4 * HOUR

    def test_an_edit_leaves_slots_that_wait_for_it_their_time(self) -> None:
        state = enabled(DELAYED)
        step = settle(state, DELAYED, NOON + 3 * HOUR)
        assert step.fired == tuple(
            FiredSlot(state.generation + n, NOON + n * HOUR, NOON + n * HOUR + 150 * MINUTE, own_run=True)
            for n in (1, 2, 3)
        )
        assert (step.skipped, step.state.slot) == ((), NOON + 4 * HOUR)

    def test_an_edit_tells_slots_that_were_missed_from_those_that_wait(self) -> None:
        step = settle(enabled(DELAYED), DELAYED, NOON + 6 * HOUR)
        assert [(fired.slot, fired.own_run) for fired in step.fired] == [
            (NOON + HOUR, False),
            (NOON + 4 * HOUR, True),
            (NOON + 5 * HOUR, True),
            (NOON + 6 * HOUR, True),
        ]
        assert step.skipped == (SkippedRange(NOON + 2 * HOUR, NOON + 3 * HOUR + 30 * MINUTE + SECOND),)

    def test_a_pause_is_the_outcome_of_all_slots_that_wait(self) -> None:
        step = settle(enabled(DELAYED), DELAYED, NOON + 3 * HOUR, waiting=OccurrenceOutcome.PAUSED)
        paused = SkippedRange(NOON + HOUR, NOON + 3 * HOUR + SECOND, OccurrenceOutcome.PAUSED)
        assert (step.fired, step.skipped, step.state.slot) == ((), (paused,), NOON + 4 * HOUR)

    def test_an_edit_leaves_no_more_than_the_newest_thousand_waiting(self) -> None:
        table = Timetable.make("* * * * * * *", ScheduleTerms(offset=HOUR))
        step = settle(enabled(table), table, NOON + 50 * MINUTE)
        slots = [fired.slot for fired in step.fired]
        assert slots == [NOON + 50 * MINUTE - n * SECOND for n in reversed(range(MOST_LEFT_WAITING))]
        assert step.skipped == (SkippedRange(NOON + SECOND, slots[0]),)

    def test_an_edit_leaves_alone_what_is_yet_to_come(self) -> None:
        state = enabled(DELAYED)
        assert settle(state, DELAYED, NOON + HOUR - SECOND) == CronStep(state)

    def test_a_new_offset_is_that_of_the_slot_that_waits_too(self) -> None:
        later = Timetable.make("0 * * * *", ScheduleTerms(offset=180 * MINUTE))
        state = enabled(DELAYED)
        changed = on_delay_change(state, later).state
        assert (changed.slot, changed.due_at) == (NOON + HOUR, NOON + 4 * HOUR)
        assert changed.generation > state.generation


class TestJitter:
    def test_takes_no_slot_for_missed_that_may_still_be_waiting(self) -> None:
        table = Timetable.make("* * * * *", ScheduleTerms(jitter=10 * MINUTE), job_name="projects/p/jobs/j")
        state, now, fired = enabled(table), NOON, []
        while len(fired) < 100:
            now += 30 * SECOND
            while slot := slot_fired(step := on_due(state, table, now)):
                assert step.skipped == ()
                fired.append(slot)
                state = step.state
        assert fired == [NOON + n * MINUTE for n in range(1, len(fired) + 1)]

    def test_skips_what_it_has_no_excuse_for(self) -> None:
        table = Timetable.make("* * * * *", ScheduleTerms(jitter=10 * MINUTE), job_name="projects/p/jobs/j")
        step = on_due(enabled(table), table, NOON + HOUR)
        assert step.skipped == (SkippedRange(NOON + 2 * MINUTE, NOON + 50 * MINUTE + SECOND),)
        assert step.state.slot == NOON + 51 * MINUTE


class TestBlackout:
    def test_is_passed_by_the_next_slot_that_starts_something(self) -> None:
        state = on_due(enabled(BLACKED_OUT), BLACKED_OUT, NOON + HOUR).state
        assert (state.slot, state.due_at) == (NOON + 2 * HOUR, NOON + 5 * HOUR)
        step = on_due(state, BLACKED_OUT, NOON + 5 * HOUR)
        assert slot_fired(step) == NOON + 5 * HOUR
        skipped = SkippedRange(NOON + 2 * HOUR, NOON + 5 * HOUR, OccurrenceOutcome.SKIPPED_BLACKOUT)
        assert (step.skipped, step.state.slot) == ((skipped,), NOON + 6 * HOUR)

    def test_that_an_edit_cuts_short_has_its_outcome_up_to_now(self) -> None:
        state = on_due(enabled(BLACKED_OUT), BLACKED_OUT, NOON + HOUR).state
        step = settle(state, BLACKED_OUT, NOON + 3 * HOUR)
        skipped = SkippedRange(NOON + 2 * HOUR, NOON + 3 * HOUR + SECOND, OccurrenceOutcome.SKIPPED_BLACKOUT)
        assert (step.fired, step.skipped) == ((), (skipped,))
        assert step.state.slot == NOON + 4 * HOUR

    def test_behind_which_nothing_comes_ends_in_the_ledger(self) -> None:
        terms = ScheduleTerms(end_before=NOON + 2 * HOUR, blackouts=(Blackout(NOON, NOON + 9 * HOUR),))
        table = Timetable.make("0 * * * *", terms)
        step = on_due(enabled(table), table, NOON + 9 * HOUR)
        skipped = SkippedRange(NOON + HOUR, NOON + 9 * HOUR, OccurrenceOutcome.SKIPPED_BLACKOUT)
        assert (step.fired, step.skipped, step.state.slot) == ((), (skipped,), None)


class TestGap:
    TABLE = Timetable.make(
        "30 2 * * *",
        ScheduleTerms(time_zone="America/New_York", gap_policy=GapPolicy.SKIP),
        zone=load_zone("America/New_York"),
    )
    GAP = datetime(2026, 3, 8, 7, tzinfo=UTC)
    OUTCOME = SkippedRange(GAP, None, OccurrenceOutcome.SKIPPED_DST_GAP)

    def test_that_leaves_out_a_time_has_its_outcome_with_the_next_slot(self) -> None:
        state = enabled(self.TABLE, self.GAP - 2 * HOUR)
        step = on_due(state, self.TABLE, datetime(2026, 3, 9, 6, 30, tzinfo=UTC))
        assert slot_fired(step) == datetime(2026, 3, 9, 6, 30, tzinfo=UTC)
        assert step.skipped == (self.OUTCOME,)

    def test_has_it_at_an_edit_before_that_slot(self) -> None:
        step = settle(enabled(self.TABLE, self.GAP - 2 * HOUR), self.TABLE, self.GAP + HOUR)
        assert (step.fired, step.skipped) == ((), (self.OUTCOME,))

    def test_has_it_when_the_slot_before_is_late(self) -> None:
        state = enabled(self.TABLE, self.GAP - 30 * HOUR)
        step = on_due(state, self.TABLE, self.GAP + 2 * HOUR)
        assert slot_fired(step) == datetime(2026, 3, 7, 7, 30, tzinfo=UTC)
        assert step.skipped == (self.OUTCOME,)

    def test_has_one_outcome_when_slots_around_it_were_missed(self) -> None:
        state = enabled(self.TABLE, self.GAP - 30 * HOUR)
        step = on_due(state, self.TABLE, self.GAP + 100 * HOUR)
        assert [skipped.outcome.name for skipped in step.skipped] == ["SKIPPED_DST_GAP", "SKIPPED_CATCHUP"]


class TestAt:
    def test_that_is_past_when_its_job_is_created_is_due_at_once(self) -> None:
        table = Timetable.make("at 2026-03-01T11:00:00Z")
        state = enabled(table)
        assert (state.slot, state.due_at) == (NOON - HOUR, NOON - HOUR)
        step = on_due(state, table, NOON)
        assert (slot_fired(step), step.state.slot, step.skipped) == (NOON - HOUR, None, ())

    @pytest.mark.parametrize(("late", "runs"), [(timedelta(0), True), (SECOND, False)])
    def test_runs_if_it_is_within_the_window(self, late: timedelta, runs: bool) -> None:
        table = Timetable.make("at 2026-03-01T11:00:00Z")
        slot = NOON - HOUR
        step = enable(CronState(), table, slot + 24 * HOUR + late)
        assert step.state.slot == (slot if runs else None)
        assert step.skipped == (() if runs else (SkippedRange(slot, None),))

    def test_does_not_run_again_when_its_job_comes_back(self) -> None:
        table = Timetable.make("at 2026-03-01T11:00:00Z")
        step = enable(CronState(generation=7), table, NOON)
        assert (step.state.slot, step.skipped) == (None, ())

    def test_yet_to_come_is_planned(self) -> None:
        assert enabled(Timetable.make("at 2026-03-01T13:00:00Z")).slot == NOON + HOUR
