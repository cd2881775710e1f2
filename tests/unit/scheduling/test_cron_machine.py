"""The cron machine, event by event (LUCI cron machine)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ostinato.scheduling.cron_machine import (
    CronState,
    CronStep,
    FiredSlot,
    SkippedRange,
    disable,
    enable,
    on_due,
    on_schedule_change,
    rewind_if_necessary,
)
from ostinato.scheduling.schedule import Timetable

HOURLY = Timetable.make("0 * * * *")
HALF_PAST = Timetable.make("30 * * * *")
INTERVAL = Timetable.make("with 10m interval")
LONG_INTERVAL = Timetable.make("with 20m interval")
TRIGGERED = Timetable.make("triggered")
LAST = datetime(2026, 1, 2, tzinfo=UTC)
LAST_OF_2026 = Timetable.make("0 0 1,2 1 * 2026")

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


def enabled(schedule: Timetable, now: datetime = NOON) -> CronState:
    return enable(CronState(), schedule, now).state


def fired_interval() -> CronState:
    return on_due(enabled(INTERVAL), INTERVAL, NOON + 10 * MINUTE).state


class TestEnable:
    def test_plans_the_next_slot_strictly_after_now(self) -> None:
        assert enabled(HOURLY).slot == NOON + HOUR

    def test_counts_an_interval_from_now(self) -> None:
        state = enabled(INTERVAL)
        assert (state.slot, state.last_rewind_at) == (NOON + 10 * MINUTE, NOON)

    def test_plans_nothing_for_triggered(self) -> None:
        state = enabled(TRIGGERED)
        assert (state.enabled, state.slot, state.waits_for_rewind) == (True, None, False)

    def test_of_an_enabled_machine_changes_nothing(self) -> None:
        state = enabled(HOURLY)
        assert enable(state, HALF_PAST, NOON + MINUTE) == CronStep(state)

    def test_after_a_disable_continues_the_generations(self) -> None:
        before = enabled(HOURLY)
        again = enable(disable(before, NOON).state, HOURLY, NOON).state
        assert again.generation > before.generation


class TestDisable:
    def test_forgets_all_but_the_generation(self) -> None:
        state = enabled(HOURLY)
        assert disable(state, NOON).state == CronState(enabled=False, generation=state.generation + 1)

    def test_of_a_disabled_machine_changes_nothing(self) -> None:
        assert disable(CronState(generation=7), NOON) == CronStep(CronState(generation=7))


class TestDue:
    def test_does_nothing_before_the_slot(self) -> None:
        state = enabled(HOURLY)
        assert on_due(state, HOURLY, NOON + HOUR - timedelta(microseconds=1)) == CronStep(state)

    @pytest.mark.parametrize("state", [CronState(), CronState(generation=4), enabled(TRIGGERED), fired_interval()])
    def test_does_nothing_without_a_slot(self, state: CronState) -> None:
        assert on_due(state, HOURLY, NOON + 100 * HOUR) == CronStep(state)

    def test_fires_and_plans_the_next(self) -> None:
        step = on_due(enabled(HOURLY), HOURLY, NOON + HOUR)
        assert [fired.slot for fired in step.fired] == [NOON + HOUR]
        assert step.state.slot == NOON + 2 * HOUR
        assert step.skipped == ()

    def test_asked_again_at_once_does_not_fire_again(self) -> None:
        step = on_due(enabled(HOURLY), HOURLY, NOON + HOUR)
        assert on_due(step.state, HOURLY, NOON + HOUR) == CronStep(step.state)

    def test_fires_under_a_new_generation(self) -> None:
        state = enabled(HOURLY)
        step = on_due(state, HOURLY, NOON + HOUR)
        (fired,) = step.fired
        assert state.generation < fired.generation <= step.state.generation

    def test_late_by_less_than_a_period_skips_nothing(self) -> None:
        step = on_due(enabled(HOURLY), HOURLY, NOON + 2 * HOUR - timedelta(seconds=1))
        assert (step.state.slot, step.skipped) == (NOON + 2 * HOUR, ())

    def test_late_by_exactly_a_period_skips_the_slot_that_is_due_now(self) -> None:
        step = on_due(enabled(HOURLY), HOURLY, NOON + 2 * HOUR)
        assert step.skipped == (SkippedRange(NOON + 2 * HOUR, NOON + 2 * HOUR + timedelta(seconds=1)),)

    def test_late_by_many_periods_fires_once_and_skips_the_rest_as_one_range(self) -> None:
        """The range holds every slot that was missed, the one due exactly now included."""
        step = on_due(enabled(HOURLY), HOURLY, NOON + 1000 * HOUR)
        assert [fired.slot for fired in step.fired] == [NOON + HOUR]
        assert step.skipped == (SkippedRange(NOON + 2 * HOUR, NOON + 1000 * HOUR + timedelta(seconds=1)),)
        assert step.state.slot == NOON + 1001 * HOUR

    def test_a_range_of_skipped_slots_ends_before_any_slot_that_an_edit_may_plan(self) -> None:
        """Found by a walk: slots of the schedule that came next lay behind the last missed one."""
        late = NOON + 2 * HOUR + timedelta(minutes=7, seconds=30, microseconds=5)
        step = on_due(enabled(HOURLY), HOURLY, late)
        assert step.skipped == (SkippedRange(NOON + 2 * HOUR, NOON + 2 * HOUR + timedelta(minutes=7, seconds=31)),)
        edited = on_schedule_change(step.state, Timetable.make("every 1s"), late)
        assert edited.state.slot == step.skipped[0].until_slot

    def test_of_a_schedule_that_has_ended_meanwhile_closes_the_range_after_now(self) -> None:
        state = enabled(LAST_OF_2026, datetime(2025, 6, 1, tzinfo=UTC))
        late = datetime(2026, 6, 1, 0, 0, 0, 500, tzinfo=UTC)
        step = on_due(state, LAST_OF_2026, late)
        assert step.skipped == (
            SkippedRange(datetime(2026, 1, 2, tzinfo=UTC), datetime(2026, 6, 1, 0, 0, 1, tzinfo=UTC)),
        )
        assert step.state.slot is None
        assert not step.state.waits_for_rewind

    def test_of_the_last_slot_plans_nothing(self) -> None:
        state = enabled(LAST_OF_2026, datetime(2026, 1, 1, 12, tzinfo=UTC))
        step = on_due(state, LAST_OF_2026, datetime(2026, 1, 2, tzinfo=UTC))
        assert step.fired == (FiredSlot(state.generation + 1, LAST, LAST),)
        assert (step.state.slot, step.skipped) == (None, ())

    def test_of_a_relative_schedule_waits_for_a_rewind(self) -> None:
        step = on_due(enabled(INTERVAL), INTERVAL, NOON + 25 * MINUTE)
        assert len(step.fired) == 1
        assert (step.state.slot, step.skipped, step.state.waits_for_rewind) == (None, (), True)


class TestRewind:
    def test_counts_a_relative_schedule_from_now(self) -> None:
        state = rewind_if_necessary(fired_interval(), INTERVAL, NOON + HOUR).state
        assert (state.slot, state.last_rewind_at) == (NOON + HOUR + 10 * MINUTE, NOON + HOUR)

    @pytest.mark.parametrize("schedule", [HOURLY, INTERVAL, TRIGGERED])
    def test_changes_nothing_when_nothing_has_fired(self, schedule: Timetable) -> None:
        state = enabled(schedule)
        assert rewind_if_necessary(state, schedule, NOON + HOUR) == CronStep(state)

    def test_changes_nothing_when_disabled(self) -> None:
        state = disable(fired_interval(), NOON).state
        assert rewind_if_necessary(state, INTERVAL, NOON) == CronStep(state)

    def test_twice_is_once(self) -> None:
        state = rewind_if_necessary(fired_interval(), INTERVAL, NOON + HOUR).state
        assert rewind_if_necessary(state, INTERVAL, NOON + 2 * HOUR) == CronStep(state)

    def test_starts_no_earlier_than_the_host_allows(self) -> None:
        plain = rewind_if_necessary(fired_interval(), INTERVAL, NOON + HOUR).state
        assert plain.slot is not None
        early, late = plain.slot - HOUR, plain.slot + HOUR
        assert rewind_if_necessary(fired_interval(), INTERVAL, NOON + HOUR, not_before=early).state == plain
        spaced = rewind_if_necessary(fired_interval(), INTERVAL, NOON + HOUR, not_before=late).state
        assert (spaced.slot, spaced.due_at) == (late, late)


class TestScheduleChange:
    def test_replaces_the_slot(self) -> None:
        state = enabled(HOURLY)
        changed = on_schedule_change(state, HALF_PAST, NOON + MINUTE).state
        assert changed.slot == NOON + 30 * MINUTE
        assert changed.generation > state.generation

    def test_to_the_same_plan_changes_nothing(self) -> None:
        state = enabled(HOURLY)
        assert on_schedule_change(state, Timetable.make("0 */1 * * *"), NOON + MINUTE) == CronStep(state)

    def test_keeps_the_last_rewind(self) -> None:
        changed = on_schedule_change(enabled(INTERVAL), LONG_INTERVAL, NOON + 5 * MINUTE).state
        assert (changed.last_rewind_at, changed.slot) == (NOON, NOON + 20 * MINUTE)

    def test_of_a_disabled_machine_changes_nothing(self) -> None:
        assert on_schedule_change(CronState(generation=3), HOURLY, NOON) == CronStep(CronState(generation=3))

    def test_to_a_relative_one_while_waiting_for_a_rewind_keeps_waiting(self) -> None:
        state = fired_interval()
        assert on_schedule_change(state, LONG_INTERVAL, NOON + HOUR) == CronStep(state)

    def test_to_an_absolute_one_while_waiting_for_a_rewind_plans_at_once(self) -> None:
        changed = on_schedule_change(fired_interval(), HOURLY, NOON + 11 * MINUTE).state
        assert (changed.slot, changed.last_rewind_at) == (NOON + HOUR, NOON + 11 * MINUTE)


class TestPause:
    """Pausing changes the schedule to `triggered`, resuming changes it back."""

    def test_plans_nothing(self) -> None:
        assert on_schedule_change(enabled(HOURLY), TRIGGERED, NOON + MINUTE).state.slot is None

    def test_then_a_triage_without_runs_does_not_rewind(self) -> None:
        paused = on_schedule_change(enabled(INTERVAL), TRIGGERED, NOON + MINUTE).state
        assert rewind_if_necessary(paused, TRIGGERED, NOON + HOUR) == CronStep(paused)

    def test_then_resume_plans_the_next_regular_slot(self) -> None:
        paused = on_schedule_change(enabled(HOURLY), TRIGGERED, NOON + MINUTE).state
        step = on_schedule_change(paused, HOURLY, NOON + 90 * MINUTE)
        assert (step.state.slot, step.fired, step.skipped) == (NOON + 2 * HOUR, (), ())

    def test_then_resume_of_an_interval_that_is_over_is_due_at_once(self) -> None:
        paused = on_schedule_change(enabled(INTERVAL), TRIGGERED, NOON + MINUTE).state
        resumed = on_schedule_change(paused, INTERVAL, NOON + HOUR).state
        assert resumed.slot == NOON + HOUR
        assert len(on_due(resumed, INTERVAL, NOON + HOUR).fired) == 1

    def test_then_resume_of_an_interval_that_is_not_over_keeps_its_measure(self) -> None:
        paused = on_schedule_change(enabled(INTERVAL), TRIGGERED, NOON + MINUTE).state
        assert on_schedule_change(paused, INTERVAL, NOON + 2 * MINUTE).state.slot == NOON + 10 * MINUTE

    def test_while_waiting_for_a_rewind_counts_from_the_pause(self) -> None:
        paused = on_schedule_change(fired_interval(), TRIGGERED, NOON + 12 * MINUTE).state
        assert (paused.slot, paused.last_rewind_at) == (None, NOON + 12 * MINUTE)
        assert on_schedule_change(paused, INTERVAL, NOON + 13 * MINUTE).state.slot == NOON + 22 * MINUTE
