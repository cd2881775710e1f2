"""An engine dies at a commit, directly before or after it, and another carries on: nothing lost, nothing doubled."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from random import Random

import pytest

from ostinato.scheduling.invocation import InvocationStatus
from ostinato.scheduling.job_definition import Downstream, TriggeringPolicy
from ostinato.scheduling.occurrence import OccurrenceOutcome
from ostinato.scheduling.targets import NoopSpec
from ostinato.testing.faults import CrashPlan
from ostinato.testing.simulation import Simulation
from tests.ci_share import ci_share
from tests.simulation.world import LIVELY, MONDAY, World, clone, open_world, simulated

TRIGGERS = ("t1", "t2", "t3", "t4", "t5")
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
# What an engine that nobody disturbs commits in the story below lies a little above.
LAST_COMMIT = 150
CRASHES_PER_SEED = 4
# The reconciler's warning: tasks alone must carry everything on, so it must find nothing.
REPAIRED = "were set going again"


async def story(simulation: Simulation, crash: CrashPlan | None, *, beside: bool = False) -> int:
    """Returns how many commits the first engine made. `beside`: a second one is there from the beginning."""
    async with open_world(simulation) as world:
        report = await world.stage.add_job("report", policy=TriggeringPolicy(max_concurrent_invocations=3))
        clean = await world.stage.add_job(
            "clean",
            target=NoopSpec(sleep=timedelta(seconds=20)),
            policy=TriggeringPolicy(max_concurrent_invocations=2, max_batch_size=2),
            downstream=(Downstream("report"),),
        )
        ticks = await world.stage.add_job("ticks", schedule="every 1m")
        await world.stage.emit_ids(clean, *TRIGGERS)
        first = await world.begin_engine(LIVELY, faults=crash)
        if beside:
            await world.begin_engine(LIVELY)
        await world.sleep(minutes=3)
        if crash is not None and first.process.died.is_set():
            await simulation.bury(first)
            await world.begin_engine(LIVELY)
        await world.sleep(minutes=3)
        await check_runs(world, clean, report)
        await check_ledger(world, ticks)
        assert not await world.left_over()
        return first.process.commits


async def check_runs(world: World, clean: int, report: int) -> None:
    cleaned, reported = await world.runs(clean), await world.runs(report)
    assert Counter(name for run in cleaned for name in run.trigger_ids) == Counter(TRIGGERS)
    upstream = Counter(f"upstream:projects/shop/jobs/clean/invocations/{run.invocation_id}" for run in cleaned)
    assert Counter(name for run in reported for name in run.trigger_ids) == upstream
    assert {run.status for run in [*cleaned, *reported]} == {InvocationStatus.SUCCEEDED}
    assert max(run.launch_attempts for run in [*cleaned, *reported]) <= 2


def next_minute(at: datetime) -> datetime:
    """`at` itself where it is one."""
    return at + (MONDAY - at) % MINUTE


async def check_ledger(world: World, ticks: int) -> None:
    """Each slot has one row or lies in one skipped range, and each run one slot that it was started for."""
    next_slot = MONDAY + MINUTE
    started = []
    for row in await world.stage.ledger(ticks):
        assert row["slot"] == next_slot
        next_slot = next_minute(row["until_slot"] or next_slot + SECOND)
        if row["outcome"] == OccurrenceOutcome.STARTED:
            started.append(row["invocation_id"])
    assert world.clock.now() - MINUTE < next_slot - MINUTE <= world.clock.now()
    assert started == [run.invocation_id for run in await world.runs(ticks)]


def crashes(seed: int) -> list[CrashPlan]:
    random = Random(seed)
    return [CrashPlan(random.randrange(1, LAST_COMMIT), after=random.random() < 0.5) for _ in range(CRASHES_PER_SEED)]


@pytest.mark.timeout(120)
@pytest.mark.parametrize("seed", ci_share(range(4)))
def test_another_engine_carries_on_what_a_dead_one_left(
    postgres_server_url: str, database_template: str, caplog: pytest.LogCaptureFixture, seed: int
) -> None:
    for crash in crashes(seed):
        with clone(postgres_server_url, database_template) as url, simulated(url, seed) as simulation:
            assert simulation.run(story(simulation, crash)) >= crash.number
    assert REPAIRED not in caplog.text


@pytest.mark.timeout(120)
@pytest.mark.parametrize("seed", ci_share(range(4, 6)))
def test_an_engine_beside_it_takes_over_what_a_dead_one_left(
    postgres_server_url: str, database_template: str, caplog: pytest.LogCaptureFixture, seed: int
) -> None:
    for crash in crashes(seed):
        with clone(postgres_server_url, database_template) as url, simulated(url, seed) as simulation:
            simulation.run(story(simulation, crash, beside=True))
    assert REPAIRED not in caplog.text


def test_an_engine_that_nobody_disturbs_makes_as_many_commits_as_the_crashes_reach(database_url: str) -> None:
    with simulated(database_url, seed=0) as simulation:
        assert simulation.run(story(simulation, None)) > LAST_COMMIT
