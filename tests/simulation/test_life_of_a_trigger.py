"""One trigger's story, from the call that emitted it to the end of the run it caused and of the next job's run."""

from __future__ import annotations

from datetime import timedelta

from ostinato.scheduling.invocation import InvocationStatus
from ostinato.scheduling.job_definition import Downstream
from ostinato.scheduling.targets import NoopSpec
from ostinato.testing.simulation import Simulation
from tests.simulation.world import CALM, MONDAY, open_world, simulated

A_MOMENT = timedelta(seconds=3)  # the engine polls each 2 s for what others add


async def story(simulation: Simulation) -> None:
    async with open_world(simulation) as world:
        report = await world.stage.add_job("report")
        clean = await world.stage.add_job(
            "clean", target=NoopSpec(sleep=timedelta(minutes=7)), downstream=(Downstream("report"),)
        )
        engine = await world.begin_engine(CALM)
        await world.sleep(minutes=10)
        emitted_at = world.clock.now()
        await world.stage.emit_ids(clean, "t1")
        await world.sleep(minutes=20)

        (cleaned,) = await world.runs(clean)
        assert cleaned.status is InvocationStatus.SUCCEEDED
        assert cleaned.trigger_ids == ("t1",)
        assert cleaned.launch_attempts == 1
        assert emitted_at <= cleaned.created_at <= cleaned.started_at < emitted_at + A_MOMENT
        assert timedelta(minutes=7) <= cleaned.finished_at - cleaned.started_at < timedelta(minutes=7) + A_MOMENT

        (reported,) = await world.runs(report)
        assert reported.status is InvocationStatus.SUCCEEDED
        assert reported.trigger_ids == (f"upstream:projects/shop/jobs/clean/invocations/{cleaned.invocation_id}",)
        assert cleaned.finished_at <= reported.created_at < cleaned.finished_at + A_MOMENT

        assert not await world.left_over()
        await engine.end()
        assert await world.db.fetchval("select count(*) from tq_worker") == 0
        assert world.clock.now() >= MONDAY + timedelta(minutes=30)


def test_a_trigger_is_emitted_triaged_launched_finished_and_passed_on(database_url: str) -> None:
    with simulated(database_url, seed=1) as simulation:
        simulation.run(story(simulation))
