"""Runs that hang, sleep and are tried again while an engine dies at a commit: each attempt once, each timer once."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from random import Random

import pytest

from ostinato.scheduling.invocation import InvocationStatus
from ostinato.scheduling.job_definition import Downstream, RetryPolicy, TriggeringPolicy, TriggerOn
from ostinato.scheduling.targets import NoopSpec
from ostinato.storage.transaction import Row
from ostinato.testing.faults import CrashPlan
from ostinato.testing.simulation import Simulation
from tests.ci_share import ci_share
from tests.simulation.test_crashes import REPAIRED
from tests.simulation.world import LIVELY, World, clone, open_world, simulated

SECOND = timedelta(seconds=1)
TRIGGERS = ("t1", "t2")
ATTEMPTS = 3
# What an engine that nobody disturbs commits in the story below lies a little above.
LAST_COMMIT = 60
CRASHES_PER_SEED = 3


async def story(simulation: Simulation, crash: CrashPlan | None) -> int:
    """Returns how many commits the first engine made."""
    async with open_world(simulation) as world:
        alarm = await world.stage.add_job("alarm", policy=TriggeringPolicy(max_batch_size=1))
        after = await world.stage.add_job("after")
        hangs = await world.stage.add_job(
            "hangs",
            target=NoopSpec(sleep=60 * SECOND),
            timeout=15 * SECOND,
            retry=RetryPolicy(ATTEMPTS, 2 * SECOND, 20 * SECOND),
            policy=TriggeringPolicy(max_concurrent_invocations=2, max_batch_size=1),
            downstream=(Downstream("alarm", TriggerOn.FAILURE),),
        )
        sleeps = await world.stage.add_job(
            "sleeps", target=NoopSpec(sleep=30 * SECOND, triggers_count=2), downstream=(Downstream("after"),)
        )
        await world.stage.emit_ids(hangs, *TRIGGERS)
        await world.stage.emit_ids(sleeps, "nap")
        first = await world.begin_engine(LIVELY, faults=crash)
        await world.sleep(minutes=2)
        if crash is not None and first.process.died.is_set():
            await simulation.bury(first)
            await world.begin_engine(LIVELY)
        await world.sleep(minutes=4)
        await check_attempts(world, hangs, alarm)
        await check_sleep(world, sleeps, after)
        assert not await world.left_over()
        assert await world.db.fetchval("select count(*) from invocation_timer") == 0
        return first.process.commits


async def check_attempts(world: World, hangs: int, alarm: int) -> None:
    """One chain of attempts per trigger, and one alarm per attempt."""
    rows = {row["invocation_id"]: row for row in await world.db.fetch(_HISTORY, hangs)}
    assert {row["status"] for row in rows.values()} == {InvocationStatus.TIMED_OUT}
    assert Counter(row["attempt"] for row in rows.values()) == dict.fromkeys(range(1, ATTEMPTS + 1), len(TRIGGERS))
    for row in rows.values():
        _check_link(rows, row)
    given = {run.invocation_id: run.trigger_ids[-1] for run in await world.runs(hangs)}
    assert Counter(given.values()) == dict.fromkeys(TRIGGERS, ATTEMPTS)
    upstream = [name for run in await world.runs(alarm) for name in run.trigger_ids]
    assert Counter(upstream) == Counter(f"upstream:projects/shop/jobs/hangs/invocations/{run}" for run in rows)


_HISTORY = "select * from invocation_history where job_id = $1"


def _check_link(rows: dict[int, Row], row: Row) -> None:
    if row["attempt"] == 1:
        assert row["retry_of"] is None
        return
    repeated = rows[row["retry_of"]]
    assert repeated["attempt"] == row["attempt"] - 1
    assert row["created_at"] - repeated["finished_at"] >= 2 * SECOND


async def check_sleep(world: World, sleeps: int, after: int) -> None:
    (run,) = await world.runs(sleeps)
    assert run.status is InvocationStatus.SUCCEEDED
    assert run.finished_at - run.started_at >= 30 * SECOND
    emitted = Counter(name for each in await world.runs(after) for name in each.trigger_ids)
    name = f"projects/shop/jobs/sleeps/invocations/{run.invocation_id}"
    assert emitted == Counter([f"noop:{run.invocation_id}:0", f"noop:{run.invocation_id}:1", f"upstream:{name}"])


def crashes(seed: int) -> list[CrashPlan]:
    random = Random(seed)
    return [CrashPlan(random.randrange(1, LAST_COMMIT), after=random.random() < 0.5) for _ in range(CRASHES_PER_SEED)]


@pytest.mark.timeout(120)
@pytest.mark.parametrize("seed", ci_share(range(4)))
def test_another_engine_ends_and_repeats_what_a_dead_one_began(
    postgres_server_url: str, database_template: str, caplog: pytest.LogCaptureFixture, seed: int
) -> None:
    for crash in crashes(seed):
        with clone(postgres_server_url, database_template) as url, simulated(url, seed) as simulation:
            assert simulation.run(story(simulation, crash)) >= crash.number
    assert REPAIRED not in caplog.text


def test_an_engine_that_nobody_disturbs_makes_as_many_commits_as_the_crashes_reach(database_url: str) -> None:
    with simulated(database_url, seed=0) as simulation:
        assert simulation.run(story(simulation, None)) > LAST_COMMIT
