"""Ours alone: how long the tasks of a killed process wait, and what processes without work cost the server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from benchmarks.comparison import Comparison, at_most
from benchmarks.driver_process import open_driver
from benchmarks.laboratory import Laboratory, Observed, connected, until_started
from benchmarks.results import Sample, Series
from benchmarks.service_process import open_service
from benchmarks.sizes import Sizes

_LONGEST = 60.0
_REPORTED_AFTER = 11.0  # PostgreSQL counts what an idle connection did up to 10 s later: the start would be counted in
_TRANSACTIONS = "select xact_commit + xact_rollback from pg_stat_database where datname = $1"


async def crash_a_worker(laboratory: Laboratory, sizes: Sizes) -> list[Comparison]:
    """All repetitions at the same time: they wait for leases, not for processors."""
    samples = await asyncio.gather(*(_crash(laboratory, sizes.crashed) for _ in range(sizes.repetitions)))
    work = "kill -9 of a worker: its tasks run again after"
    return [Comparison(work, "s", Series(tuple(samples)), first=at_most(15, "s"), goal=at_most(10, "s"))]


async def _crash(laboratory: Laboratory, count: int) -> Sample:
    async with (
        laboratory.database("ours") as url,
        laboratory.workers("ours", url, 2, hold=True) as (victim, survivor),
    ):
        victim.driver.send("go")
        async with open_driver("ours", "load", url, count=count) as loader:
            await loader.run()
        await until_started([victim], count, seconds=_LONGEST)
        survivor.driver.send("go")
        await asyncio.sleep(1.0)  # the survivor is at rest, as it would be
        killed_at = time.time()
        await victim.driver.crash()
        await until_started([survivor], count, seconds=_LONGEST)
        return Sample(survivor.starts.last_at - killed_at)


async def rest_worker(laboratory: Laboratory, sizes: Sizes) -> list[Comparison]:
    """All repetitions at the same time: they do next to nothing."""
    samples = await asyncio.gather(*(_idle_worker(laboratory, sizes.idle_seconds) for _ in range(sizes.repetitions)))
    return [_resting("a worker without work: transactions", samples)]


async def rest_engine(laboratory: Laboratory, sizes: Sizes) -> list[Comparison]:
    """As above."""
    samples = await asyncio.gather(*(_idle_engine(laboratory, sizes.idle_seconds) for _ in range(sizes.repetitions)))
    return [_resting("an engine without work: transactions", samples)]


def _resting(work: str, samples: Sequence[Sample]) -> Comparison:
    return Comparison(work, "1/s", Series(tuple(samples)), first=at_most(10, "1/s"), goal=at_most(5, "1/s"))


async def _idle_worker(laboratory: Laboratory, seconds: float) -> Sample:
    async with laboratory.database("ours") as url, laboratory.workers("ours", url, 1) as (worker,):
        worker.driver.send("go")
        return await _rest(laboratory, url, worker.driver, seconds)


async def _idle_engine(laboratory: Laboratory, seconds: float) -> Sample:
    async with (
        laboratory.scheduler_database() as url,
        open_service("engine", url, laboratory.scratch / "engine.log") as engine,
    ):
        return await _rest(laboratory, url, engine, seconds)


async def _rest(laboratory: Laboratory, url: str, process: Observed, seconds: float) -> Sample:
    # Asked in another database, so that the looking itself is not counted.
    async with connected(laboratory.server.url) as watching:
        name = url.rpartition("/")[2]
        await asyncio.sleep(min(_REPORTED_AFTER, seconds))
        with laboratory.observe(process) as usage:
            before = await watching.fetchval(_TRANSACTIONS, name)
            await asyncio.sleep(seconds)
            after = await watching.fetchval(_TRANSACTIONS, name)
        return Sample(
            (after - before) / usage.seconds, also={"share of a processor": (usage.client or 0.0) / usage.seconds}
        )
