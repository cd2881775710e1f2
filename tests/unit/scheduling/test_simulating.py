from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from ostinato.scheduling.job_definition import Intake, Overflow, PolicyKind, TriggeringPolicy
from ostinato.scheduling.occurrence import OccurrenceOutcome
from ostinato.scheduling.schedule import Blackout, ScheduleTerms, Timetable
from ostinato.scheduling.schedule.due_time import Delay
from ostinato.scheduling.simulating import (
    MAX_TRIGGERS,
    Arrival,
    Dropped,
    Moment,
    Outcome,
    RunLength,
    Scenario,
    TooManyTriggersError,
    add_up,
    simulate,
)
from ostinato.scheduling.start_limit import StartLimit

START = datetime(2026, 12, 1, 9, tzinfo=UTC)
SECOND = timedelta(seconds=1)
GREEDY = TriggeringPolicy()


def scenario(
    *arrivals: Arrival,
    schedule: str = "triggered",
    takes: float = 10,
    lasts: float = 60,
    terms: ScheduleTerms | None = None,
    start_limit: StartLimit | None = None,
    run_length: RunLength | None = None,
) -> Scenario:
    return Scenario(
        START,
        START + lasts * SECOND,
        Timetable.make(schedule, terms, job_name="projects/shop/jobs/nightly"),
        arrivals,
        run_length or RunLength(takes * SECOND, takes * SECOND),
        start_limit,
    )


def arrival(after: float, *ids: str, takes: float | None = None) -> Arrival:
    return Arrival(START + after * SECOND, ids, None if takes is None else takes * SECOND)


def numbered(count: int) -> Sequence[str]:
    return [f"t{number:03}" for number in range(1, count + 1)]


def at(outcome: Outcome, after: float) -> Moment:
    return next(moment for moment in outcome.moments if moment.at == START + after * SECOND)


def starts(outcome: Outcome) -> list[tuple[float, tuple[str, ...]]]:
    return [((run.started_at - START) / SECOND, run.trigger_ids) for run in outcome.runs]


LOGARITHMIC = TriggeringPolicy(PolicyKind.LOGARITHMIC_BATCHING, max_batch_size=5, log_base=2.0)


def test_four_at_once_and_logarithmic_batches_of_base_2_start_with_a_run_of_two() -> None:
    outcome = simulate(scenario(arrival(0, *numbered(4))), LOGARITHMIC, Intake())
    assert at(outcome, 0).started[0].trigger_ids == ("t001", "t002")
    assert at(outcome, 0).waiting == 2


def test_128_at_once_fill_a_batch_of_five_and_123_wait() -> None:
    outcome = simulate(scenario(arrival(0, *numbered(128))), LOGARITHMIC, Intake())
    assert at(outcome, 0).started[0].trigger_ids == tuple(numbered(5))
    assert at(outcome, 0).waiting == 123


def test_newest_first_runs_the_newest_and_discards_what_has_waited_out_its_time() -> None:
    policy = TriggeringPolicy(PolicyKind.NEWEST_FIRST, pending_timeout=3 * SECOND)
    outcome = simulate(scenario(arrival(0, "t1", "t2", "t3", "t4"), takes=4), policy, Intake())
    assert at(outcome, 0).started[0].trigger_ids == ("t4",)
    assert at(outcome, 3).dropped == (Dropped("DISCARDED_EXPIRED", ("t1", "t2", "t3")),)
    assert (at(outcome, 4).ended, at(outcome, 4).started) == ((1,), ())
    assert len(outcome.moments) == 3


def test_what_waits_starts_when_a_run_ends() -> None:
    outcome = simulate(scenario(arrival(0, "a"), arrival(2, "b"), arrival(5, "c")), GREEDY, Intake())
    assert starts(outcome) == [(0, ("a",)), (10, ("b", "c"))]
    assert [run.waits for run in outcome.runs] == [(0 * SECOND,), (8 * SECOND, 5 * SECOND)]


def test_slots_fire_and_pile_up_while_runs_last() -> None:
    outcome = simulate(scenario(schedule="every 10s", takes=25), GREEDY, Intake())
    assert starts(outcome) == [
        (10, ("slot:2026-12-01T09:00:10Z",)),
        (35, ("slot:2026-12-01T09:00:20Z", "slot:2026-12-01T09:00:30Z")),
        (60, ("slot:2026-12-01T09:00:40Z", "slot:2026-12-01T09:00:50Z", "slot:2026-12-01T09:01:00Z")),
    ]


def test_a_relative_schedule_counts_from_the_end_of_the_run() -> None:
    outcome = simulate(scenario(schedule="with 5s interval", takes=10), GREEDY, Intake())
    assert [after for after, _ in starts(outcome)] == [5, 20, 35, 50]


def test_a_slot_is_due_later_by_its_offset_and_not_started_after_its_deadline() -> None:
    terms = ScheduleTerms(offset=3 * SECOND)
    limit = StartLimit(Delay("", terms.offset), 4 * SECOND)
    outcome = simulate(
        scenario(schedule="every 10s", takes=16, lasts=30, terms=terms, start_limit=limit), GREEDY, Intake()
    )
    assert [after for after, _ in starts(outcome)] == [13]
    assert at(outcome, 27).dropped == (Dropped("START_DEADLINE_PASSED", ("slot:2026-12-01T09:00:20Z",)),)


def test_slots_in_a_blackout_are_told() -> None:
    terms = ScheduleTerms(blackouts=(Blackout(START + 15 * SECOND, START + 45 * SECOND),))
    outcome = simulate(scenario(schedule="every 10s", takes=1, terms=terms), GREEDY, Intake())
    assert [after for after, _ in starts(outcome)] == [10, 50, 60]
    skipped = [each for moment in outcome.moments for each in moment.skipped]
    assert [(each.from_slot, each.outcome) for each in skipped] == [
        (START + 20 * SECOND, OccurrenceOutcome.SKIPPED_BLACKOUT)
    ]


def test_beyond_the_cap_the_oldest_are_dropped() -> None:
    outcome = simulate(scenario(arrival(0, "a"), arrival(1, *numbered(5))), GREEDY, Intake(max_pending=2))
    assert at(outcome, 1).dropped == (Dropped("DROPPED_OVERFLOW", ("t001", "t002", "t003")),)
    assert starts(outcome)[1] == (10, ("t004", "t005"))


def test_a_flood_beyond_what_one_triage_reads_is_dropped_to_the_last() -> None:
    outcome = simulate(scenario(arrival(0, "a"), arrival(1, *numbered(200))), GREEDY, Intake(max_pending=3))
    assert at(outcome, 1).waiting == 3
    assert starts(outcome)[1] == (10, ("t198", "t199", "t200"))


def test_a_job_that_rejects_refuses_the_whole_call() -> None:
    intake = Intake(max_pending=2, overflow=Overflow.REJECT)
    outcome = simulate(scenario(arrival(0, "a"), arrival(1, "b"), arrival(2, "c", "d")), GREEDY, intake)
    assert at(outcome, 2).dropped == (Dropped("REJECTED", ("c", "d")),)
    assert starts(outcome)[1] == (10, ("b",))


def test_starts_keep_the_least_interval() -> None:
    policy = TriggeringPolicy(max_concurrent_invocations=5)
    outcome = simulate(
        scenario(arrival(0, "a"), arrival(1, "b"), arrival(2, "c"), takes=1), policy, Intake(min_interval=7 * SECOND)
    )
    assert starts(outcome) == [(0, ("a",)), (7, ("b", "c"))]


def test_a_run_takes_as_long_as_the_longest_of_its_triggers_says() -> None:
    outcome = simulate(scenario(arrival(0, "a", takes=2), arrival(0, "b", takes=30), arrival(0, "c")), GREEDY, Intake())
    assert [run.ends_at - run.started_at for run in outcome.runs] == [30 * SECOND]


def test_run_lengths_lie_between_the_bounds_and_follow_from_the_seed() -> None:
    length = RunLength(SECOND, 3 * SECOND, seed=7)
    drawn = [length.of(run) for run in range(1, 200)]
    assert all(SECOND <= each <= 3 * SECOND for each in drawn)
    assert len(set(drawn)) > 100
    assert drawn == [RunLength(SECOND, 3 * SECOND, seed=7).of(run) for run in range(1, 200)]
    assert drawn != [RunLength(SECOND, 3 * SECOND, seed=8).of(run) for run in range(1, 200)]


def test_totals() -> None:
    story = scenario(arrival(0, "a"), arrival(2, "b"), arrival(4, "c", "d", "e"), lasts=20)
    totals = add_up(story, simulate(story, TriggeringPolicy(max_batch_size=2), Intake(max_pending=3)))
    assert (totals.triggers, totals.runs, totals.largest_batch, totals.mean_batch) == (5, 3, 2, 4 / 3)
    assert totals.dropped == {"DROPPED_OVERFLOW": 1}
    # a 0 s, then c and d 6 s; e starts in the last instant, 16 s late
    assert (totals.longest_wait, totals.mean_wait) == (16 * SECOND, 7 * SECOND)
    assert (totals.most_waiting, totals.left_waiting, totals.left_running) == (3, 0, 1)
    assert totals.busy_share == 1.0


def test_idle_time_is_not_busy_and_overlapping_runs_count_once() -> None:
    story = scenario(arrival(5, "a"), arrival(10, "b"), lasts=40)
    totals = add_up(story, simulate(story, TriggeringPolicy(max_concurrent_invocations=2), Intake()))
    assert totals.busy_share == 15 / 40


def test_nothing_that_comes_is_all_zero() -> None:
    story = scenario()
    totals = add_up(story, simulate(story, GREEDY, Intake()))
    assert (totals.triggers, totals.runs, totals.mean_batch, totals.busy_share) == (0, 0, 0.0, 0.0)


def test_more_than_can_be_simulated_is_refused() -> None:
    story = scenario(arrival(0, *(f"t{number}" for number in range(MAX_TRIGGERS))), arrival(1, "one more"))
    with pytest.raises(TooManyTriggersError, match="100000 triggers come up to 2026-12-01T09:00:01Z"):
        simulate(story, GREEDY, Intake())
