"""Whatever comes, and whatever the policy: a simulation loses nothing, doubles nothing, and is the same each time."""

from __future__ import annotations

import itertools
from collections import Counter
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from ostinato.scheduling.job_definition import Intake, Overflow, PolicyKind, TriggeringPolicy
from ostinato.scheduling.schedule import ScheduleTerms, Timetable
from ostinato.scheduling.schedule.due_time import Delay
from ostinato.scheduling.simulating import Arrival, RunLength, Scenario, add_up, simulate
from ostinato.scheduling.start_limit import StartLimit

START = datetime(2026, 12, 1, 9, tzinfo=UTC)
SECOND = timedelta(seconds=1)
SCHEDULES = ["triggered", "every 7s", "* * * * * * *", "with 3s interval", "continuously"]


@st.composite
def policies(draw: st.DrawFn) -> TriggeringPolicy:
    kind = draw(st.sampled_from(PolicyKind))
    return TriggeringPolicy(
        kind,
        max_concurrent_invocations=draw(st.integers(1, 3)),
        max_batch_size=draw(st.integers(1, 5)),
        log_base=2.0,
        pending_timeout=draw(st.integers(1, 20)) * SECOND if kind is PolicyKind.NEWEST_FIRST else None,
    )


INTAKES = st.builds(
    Intake, st.integers(1, 40), st.sampled_from(Overflow), st.sampled_from([timedelta(0), SECOND, 11 * SECOND])
)


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario:
    sizes = draw(st.lists(st.tuples(st.integers(0, 60), st.sampled_from([1, 2, 5, 45])), max_size=12))
    arrivals = [
        Arrival(
            START + after * SECOND,
            tuple(f"{number}-{index}" for index in range(size)),
            draw(st.none() | st.integers(0, 9).map(lambda seconds: seconds * SECOND)),
        )
        for number, (after, size) in enumerate(sizes)
    ]
    shortest = draw(st.integers(0, 20))
    schedule = draw(st.sampled_from(SCHEDULES))
    absolute = schedule in SCHEDULES[1:3]
    terms = ScheduleTerms(offset=draw(st.integers(0, 5)) * SECOND, jitter=draw(st.integers(0, 9)) * SECOND)
    timetable = Timetable.make(schedule, terms if absolute else None, job_name="projects/p/jobs/j")
    deadline = draw(st.none() | st.integers(1, 9)) if absolute else None
    return Scenario(
        START,
        START + 60 * SECOND,
        timetable,
        arrivals,
        RunLength(shortest * SECOND, (shortest + draw(st.integers(0, 9))) * SECOND, draw(st.integers(0, 9))),
        None
        if deadline is None
        else StartLimit(Delay("projects/p/jobs/j", terms.offset, terms.jitter), deadline * SECOND),
    )


@settings(max_examples=150, deadline=None)
@given(scenario=scenarios(), policy=policies(), intake=INTAKES)
def test_every_trigger_is_in_exactly_one_place_and_limits_hold(
    scenario: Scenario, policy: TriggeringPolicy, intake: Intake
) -> None:
    outcome = simulate(scenario, policy, intake)
    arrived = [each for moment in outcome.moments for each in moment.arrived]
    given_ids = {each for arrival in scenario.arrivals for each in arrival.trigger_ids}
    dropped = [each for moment in outcome.moments for drop in moment.dropped for each in drop.trigger_ids]
    placed = [*(each for run in outcome.runs for each in run.trigger_ids), *dropped, *outcome.waiting]
    assert Counter(placed) == Counter(arrived)
    assert len(set(arrived)) == len(arrived)
    assert given_ids <= set(arrived)
    assert all(moment.running <= policy.max_concurrent_invocations for moment in outcome.moments)
    assert all(moment.waiting <= intake.max_pending for moment in outcome.moments)
    assert all(scenario.start <= moment.at <= scenario.until for moment in outcome.moments)
    started = sorted({run.started_at for run in outcome.runs})
    assert all(later - earlier >= intake.min_interval for earlier, later in itertools.pairwise(started))


@settings(max_examples=30, deadline=None)
@given(scenario=scenarios(), policy=policies(), intake=INTAKES)
def test_the_same_again_comes_to_the_same(scenario: Scenario, policy: TriggeringPolicy, intake: Intake) -> None:
    outcome = simulate(scenario, policy, intake)
    assert simulate(scenario, policy, intake) == outcome
    totals = add_up(scenario, outcome)
    assert totals.triggers == sum(map(len, (run.trigger_ids for run in outcome.runs))) + totals.left_waiting + sum(
        totals.dropped.values()
    )
    assert 0 <= totals.busy_share <= 1
