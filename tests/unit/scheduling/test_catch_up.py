"""What fires of the slots that nobody fired in time, and what becomes of the others."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ostinato.scheduling.cron_machine import (
    CronState,
    CronStep,
    FiredSlot,
    SkippedRange,
    enable,
    hold,
    on_due,
    on_schedule_change,
    resume,
    settle,
)
from ostinato.scheduling.occurrence import OccurrenceOutcome
from ostinato.scheduling.schedule import (
    Blackout,
    CatchUp,
    CatchUpPolicy,
    GapPolicy,
    ScheduleTerms,
    Timetable,
)
from ostinato.zones import load_zone

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
LATEST = CatchUp(CatchUpPolicy.LATEST)
ALL = CatchUp(CatchUpPolicy.ALL)


def hourly(catch_up: CatchUp, *blackouts: Blackout, offset: timedelta = timedelta(0)) -> Timetable:
    return Timetable.make("0 * * * *", ScheduleTerms(offset=offset, blackouts=blackouts, catch_up=catch_up))


def planned(table: Timetable, now: datetime = NOON) -> CronState:
    return enable(CronState(), table, now).state


def slots(step: CronStep) -> list[datetime]:
    return [fired.slot for fired in step.fired]


def hours(first: int, last: int) -> list[datetime]:
    return [NOON + number * HOUR for number in range(first, last + 1)]


class TestOneSlot:
    """It is the usual trigger, whatever the policy."""

    @pytest.mark.parametrize("policy", CatchUpPolicy)
    def test_that_is_late_fires_as_always(self, policy: CatchUpPolicy) -> None:
        table = hourly(CatchUp(policy))
        state = planned(table)
        step = on_due(state, table, NOON + HOUR + 59 * MINUTE)
        assert step.fired == (FiredSlot(state.generation + 1, NOON + HOUR, NOON + HOUR),)
        assert (step.skipped, step.state.slot) == ((), NOON + 2 * HOUR)

    @pytest.mark.parametrize(("policy", "fires"), [("SKIP", True), ("LATEST", False), ("ALL", False)])
    def test_that_is_older_than_the_window_fires_under_skip_only(self, policy: str, fires: bool) -> None:
        table = hourly(CatchUp(CatchUpPolicy[policy], window=MINUTE))
        step = on_due(planned(table), table, NOON + HOUR + MINUTE + timedelta(microseconds=1))
        assert slots(step) == ([NOON + HOUR] if fires else [])
        skipped = SkippedRange(NOON + HOUR, NOON + HOUR + MINUTE + SECOND)
        assert step.skipped == (() if fires else (skipped,))
        assert step.state.slot == NOON + 2 * HOUR

    def test_is_within_the_window_up_to_its_end(self) -> None:
        table = hourly(CatchUp(CatchUpPolicy.LATEST, window=MINUTE))
        assert slots(on_due(planned(table), table, NOON + HOUR + MINUTE)) == [NOON + HOUR]

    @pytest.mark.parametrize("catch_up", [LATEST, ALL])
    def test_is_not_taken_for_missed_because_of_its_offset(self, catch_up: CatchUp) -> None:
        table = hourly(CatchUp(catch_up.policy, window=MINUTE), offset=10 * HOUR)
        assert slots(on_due(planned(table), table, NOON + 11 * HOUR + SECOND)) == [NOON + HOUR]


class TestLatest:
    def test_fires_the_newest_and_skips_the_others_as_one_range(self) -> None:
        table = hourly(LATEST)
        step = on_due(planned(table), table, NOON + 1000 * HOUR + MINUTE)
        (fired,) = step.fired
        assert (fired.slot, fired.own_run) == (NOON + 1000 * HOUR, False)
        assert step.skipped == (SkippedRange(NOON + HOUR, NOON + 1000 * HOUR),)
        assert step.state.slot == NOON + 1001 * HOUR

    def test_fires_a_slot_that_is_due_at_this_very_instant(self) -> None:
        table = hourly(LATEST)
        assert slots(on_due(planned(table), table, NOON + 3 * HOUR)) == [NOON + 3 * HOUR]

    def test_takes_no_slot_for_the_newest_that_still_waits_for_its_offset(self) -> None:
        table = hourly(LATEST, offset=2 * HOUR)
        step = on_due(planned(table), table, NOON + 9 * HOUR + MINUTE)
        assert (slots(step), step.state.slot) == ([NOON + 7 * HOUR], NOON + 8 * HOUR)

    def test_with_a_blackout_at_the_end_fires_the_newest_before_it(self) -> None:
        table = hourly(LATEST, Blackout(NOON + 4 * HOUR, NOON + 8 * HOUR))
        step = on_due(planned(table), table, NOON + 6 * HOUR + MINUTE)
        assert slots(step) == [NOON + 3 * HOUR]
        assert step.skipped == (
            SkippedRange(NOON + HOUR, NOON + 3 * HOUR),
            SkippedRange(NOON + 4 * HOUR, NOON + 6 * HOUR + MINUTE + SECOND, OccurrenceOutcome.SKIPPED_BLACKOUT),
        )
        assert (step.state.slot, step.state.due_at) == (NOON + 7 * HOUR, NOON + 8 * HOUR)


class TestAll:
    def test_fires_each_for_a_run_of_its_own_oldest_first(self) -> None:
        table = hourly(ALL)
        state = planned(table)
        step = on_due(state, table, NOON + 4 * HOUR + MINUTE)
        assert slots(step) == hours(1, 4)
        assert [fired.generation for fired in step.fired] == [state.generation + number for number in range(1, 5)]
        assert all(fired.own_run for fired in step.fired)
        assert (step.skipped, step.state.slot) == ((), NOON + 5 * HOUR)
        assert step.state.generation > step.fired[-1].generation

    def test_skips_what_exceeds_the_limit_and_what_is_older_than_the_window(self) -> None:
        table = hourly(CatchUp(CatchUpPolicy.ALL, limit=3))
        step = on_due(planned(table), table, NOON + 10 * HOUR)
        assert slots(step) == hours(8, 10)
        assert step.skipped == (SkippedRange(NOON + HOUR, NOON + 8 * HOUR),)
        table = hourly(CatchUp(CatchUpPolicy.ALL, window=5 * HOUR))
        step = on_due(planned(table), table, NOON + 10 * HOUR)
        assert slots(step) == hours(5, 10)
        assert step.skipped == (SkippedRange(NOON + HOUR, NOON + 5 * HOUR),)

    def test_one_that_is_left_of_several_has_a_run_of_its_own_too(self) -> None:
        table = hourly(CatchUp(CatchUpPolicy.ALL, limit=1))
        (fired,) = on_due(planned(table), table, NOON + 10 * HOUR).fired
        assert (fired.slot, fired.own_run) == (NOON + 10 * HOUR, True)

    def test_blackouts_between_and_behind_keep_their_outcomes(self) -> None:
        first = Blackout(NOON + 2 * HOUR, NOON + 4 * HOUR)
        second = Blackout(NOON + 5 * HOUR, NOON + 9 * HOUR)
        table = hourly(ALL, first, second)
        step = on_due(planned(table), table, NOON + 6 * HOUR)
        assert slots(step) == [NOON + HOUR, NOON + 4 * HOUR]
        outcome = OccurrenceOutcome.SKIPPED_BLACKOUT
        assert step.skipped == (
            SkippedRange(NOON + 2 * HOUR, NOON + 4 * HOUR, outcome),
            SkippedRange(NOON + 5 * HOUR, NOON + 6 * HOUR + SECOND, outcome),
        )

    def test_a_blackout_before_the_first_keeps_its_outcome(self) -> None:
        """Found by a walk: there was an empty range of skipped slots as well."""
        table = hourly(ALL, Blackout(NOON, NOON + 3 * HOUR))
        step = on_due(planned(table), table, NOON + 4 * HOUR)
        assert slots(step) == hours(3, 4)
        assert step.skipped == (SkippedRange(NOON + HOUR, NOON + 3 * HOUR, OccurrenceOutcome.SKIPPED_BLACKOUT),)

    @pytest.mark.parametrize("limit", [1, 100])
    def test_times_that_a_gap_leaves_out_keep_their_outcome_among_those_that_fire_and_are_skipped(
        self, limit: int
    ) -> None:
        gap = datetime(2026, 3, 8, 7, tzinfo=UTC)
        catch_up = CatchUp(CatchUpPolicy.ALL, window=timedelta(days=30), limit=limit)
        terms = ScheduleTerms(time_zone="America/New_York", gap_policy=GapPolicy.SKIP, catch_up=catch_up)
        table = Timetable.make("30 2 * * *", terms, zone=load_zone("America/New_York"))
        step = on_due(planned(table, gap - 50 * HOUR), table, gap + 50 * HOUR)
        assert len(step.fired) == min(limit, 4)
        outcomes = [skipped for skipped in step.skipped if skipped.outcome is OccurrenceOutcome.SKIPPED_DST_GAP]
        assert outcomes == [SkippedRange(gap, None, OccurrenceOutcome.SKIPPED_DST_GAP)]

    def test_an_edit_makes_up_for_what_had_its_time_under_the_old_schedule(self) -> None:
        table = hourly(ALL, offset=2 * HOUR)
        assert slots(settle(planned(table), table, NOON + 4 * HOUR)) == hours(1, 4)


class LookUps:
    """How often a timetable was asked for the next slot."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        original = Timetable.next_after

        def counted(table: Timetable, after: datetime, *, last_rewind_at: datetime | None = None) -> datetime | None:
            self.count += 1
            assert self.count < 100_000
            return original(table, after, last_rewind_at=last_rewind_at)

        monkeypatch.setattr(Timetable, "next_after", counted)


@pytest.mark.parametrize(
    ("catch_up", "text", "away", "most"),
    [
        (LATEST, "every 1s", timedelta(days=7), 10),
        (LATEST, "every 1h", timedelta(days=365), 40),
        (LATEST, "* * 3 * * * *", timedelta(days=7), 80),  # a burst each night
        (ALL, "every 1s", timedelta(days=7), 250),
        (ALL, "every 1s", timedelta(days=3650), 250),
        (ALL, "every 1m", timedelta(days=365), 350),
        (ALL, "* * 3 * * * *", timedelta(days=7), 2_000),
        (CatchUp(CatchUpPolicy.ALL, timedelta(days=366), 1000), "every 1s", timedelta(days=7), 2_500),
        (CatchUp(CatchUpPolicy.ALL, timedelta(days=366), 1000), "every 1h", timedelta(days=365), 3_500),
    ],
)
def test_making_up_takes_as_many_look_ups_as_slots_fire_however_many_were_missed(
    monkeypatch: pytest.MonkeyPatch, catch_up: CatchUp, text: str, away: timedelta, most: int
) -> None:
    table = Timetable.make(text, ScheduleTerms(catch_up=catch_up))
    state = planned(table)
    look_ups = LookUps(monkeypatch)
    step = on_due(state, table, NOON + away)
    assert 0 < len(step.fired) <= catch_up.limit
    assert 0 < look_ups.count <= most


class TestPause:
    """A job that makes up for the time of its pause is held."""

    @pytest.mark.parametrize(("catch_up", "fired"), [(LATEST, hours(5, 5)), (ALL, hours(1, 5))])
    def test_what_came_meanwhile_is_made_up_for_when_it_is_resumed(
        self, catch_up: CatchUp, fired: list[datetime]
    ) -> None:
        table = hourly(catch_up)
        held = hold(planned(table))
        assert (held.slot, held.due_at, held.is_held) == (NOON + HOUR, None, True)
        assert on_due(held, table, NOON + 5 * HOUR) == CronStep(held)
        step = resume(held, table, NOON + 5 * HOUR)
        assert slots(step) == fired
        assert (step.state.slot, step.state.due_at) == (NOON + 6 * HOUR, NOON + 6 * HOUR)

    def test_that_ends_before_the_slot_changes_nothing(self) -> None:
        table = hourly(LATEST)
        state = planned(table)
        step = resume(hold(state), table, NOON + MINUTE)
        assert (slots(step), step.state.slot, step.state.due_at) == ([], NOON + HOUR, NOON + HOUR)
        assert step.state.generation > state.generation

    def test_of_nothing_that_is_planned_changes_nothing(self) -> None:
        state = planned(Timetable.make("triggered"))
        assert hold(state) == state
        assert resume(state, Timetable.make("triggered"), NOON) == CronStep(state)

    def test_without_making_up_still_fires_a_slot_that_is_due_at_the_instant_of_the_resume(self) -> None:
        table, triggered = hourly(CatchUp()), Timetable.make("triggered")
        paused = on_schedule_change(planned(table), triggered, NOON + MINUTE).state
        resumed = on_schedule_change(paused, table, NOON + 3 * HOUR, was_triggered=True).state
        assert slots(on_due(resumed, table, NOON + 3 * HOUR)) == [NOON + 3 * HOUR]

    def test_in_the_instant_of_a_slot_that_fired_does_not_fire_it_again(self) -> None:
        table, triggered = hourly(CatchUp()), Timetable.make("triggered")
        fired = on_due(planned(table), table, NOON + HOUR).state
        paused = on_schedule_change(fired, triggered, NOON + HOUR).state
        resumed = on_schedule_change(paused, table, NOON + HOUR, was_triggered=True).state
        assert resumed.slot == NOON + 2 * HOUR


@pytest.mark.parametrize("late", [timedelta(0), SECOND])
def test_an_at_that_is_past_when_its_job_is_created_runs_within_the_window_of_the_job(late: timedelta) -> None:
    terms = ScheduleTerms(catch_up=CatchUp(window=2 * HOUR))
    table = Timetable.make("at 2026-03-01T12:00:00Z", terms)
    step = enable(CronState(), table, NOON + 2 * HOUR + late)
    assert step.state.slot == (None if late else NOON)
    assert step.skipped == ((SkippedRange(NOON, None),) if late else ())
