"""A week of schedules: every slot is accounted for, intervals keep their distance, each end triggers the next job.

In CI the first days of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest

from ostinato.scheduling.invocation import InvocationStatus
from ostinato.scheduling.job_definition import Downstream
from ostinato.scheduling.occurrence import OccurrenceOutcome
from ostinato.scheduling.targets import NoopSpec
from ostinato.storage.transaction import Row
from ostinato.testing.simulation import Simulation
from tests.ci_share import EVERYTHING
from tests.simulation.world import MONDAY, SLOW, Run, World, open_world, simulated

DAYS = 7 if EVERYTHING else 2
LENGTH = timedelta(days=DAYS)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
A_MOMENT = timedelta(seconds=1)


async def story(simulation: Simulation) -> None:
    async with open_world(simulation) as world:
        summary = await world.stage.add_job("summary")
        hourly = await world.stage.add_job(
            "hourly", schedule="0 * * * *", target=NoopSpec(sleep=2 * MINUTE), downstream=(Downstream("summary"),)
        )
        often = await world.stage.add_job("often", schedule="with 50m interval", target=NoopSpec(sleep=MINUTE))
        every = await world.stage.add_job("every", schedule="every 6h")
        engine = await world.begin_engine(SLOW)
        await world.clock.sleep((LENGTH + 30 * MINUTE).total_seconds())

        check_slots(await world.stage.ledger(hourly), await world.runs(hourly), every=HOUR, count=24 * DAYS)
        check_slots(await world.stage.ledger(every), await world.runs(every), every=6 * HOUR, count=4 * DAYS)
        check_intervals(await world.runs(often))
        assert await world.stage.ledger(often) == []
        await check_fan_out(world, hourly, summary)
        await engine.end()
        assert not await world.left_over() - Counter({"active invocations": 1, "pending triggers": 1})


def check_slots(ledger: Sequence[Row], runs: Sequence[Run], *, every: timedelta, count: int) -> None:
    """Each slot has one row, one run, and began on time."""
    slots = [MONDAY + every * number for number in range(1, count + 1)]
    assert [row["slot"] for row in ledger] == slots
    assert {row["outcome"] for row in ledger} == {OccurrenceOutcome.STARTED}
    assert [row["invocation_id"] for row in ledger] == [run.invocation_id for run in runs]
    assert [run.scheduled_for for run in runs] == slots
    assert {run.status for run in runs} == {InvocationStatus.SUCCEEDED}
    assert all(timedelta(0) <= lateness(run) < A_MOMENT for run in runs)


def lateness(run: Run) -> timedelta:
    assert run.scheduled_for is not None
    return run.started_at - run.scheduled_for


def check_intervals(runs: Sequence[Run]) -> None:
    """Fifty minutes lie between an end and the next start."""
    starts: list[datetime] = [run.started_at for run in runs]
    ends = [run.finished_at for run in runs]
    pauses = [start - end for start, end in zip(starts[1:], ends[:-1], strict=True)]
    assert all(50 * MINUTE <= pause < 50 * MINUTE + A_MOMENT for pause in pauses)
    most = (LENGTH + 30 * MINUTE) // (51 * MINUTE)  # a moment more each
    assert most - 2 <= len(runs) <= most


async def check_fan_out(world: World, hourly: int, summary: int) -> None:
    expected = [
        (f"upstream:projects/shop/jobs/hourly/invocations/{run.invocation_id}",) for run in await world.runs(hourly)
    ]
    assert [run.trigger_ids for run in await world.runs(summary)] == expected


@pytest.mark.timeout(300)
def test_a_week_passes_without_losing_a_slot(database_url: str) -> None:
    with simulated(database_url, seed=7) as simulation:
        simulation.run(story(simulation))
