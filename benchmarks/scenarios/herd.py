"""Many tasks due at one instant, beside far more that are not due for a month."""

from __future__ import annotations

import time

from benchmarks.comparison import Comparison, also_at_most, at_most
from benchmarks.driver_process import open_driver
from benchmarks.laboratory import Laboratory, until_started
from benchmarks.results import SIDES, Sample, alternate
from benchmarks.sizes import Sizes


async def due_at_once(laboratory: Laboratory, sizes: Sizes) -> list[Comparison]:
    async def measure(side: str) -> Sample:
        async with (
            laboratory.database(side, future=sizes.herd_future) as url,
            laboratory.workers(side, url, 1) as (worker,),
        ):
            worker.driver.send("go")
            due_at = time.time() + sizes.herd_notice
            async with open_driver(side, "load", url, count=sizes.herd, due_at=due_at) as loader:
                await loader.run()
            with laboratory.observe(worker.driver) as usage:
                await until_started([worker], sizes.herd, seconds=60 + sizes.herd_notice)
            starts = worker.starts
            first, last = starts.first_at - due_at, starts.last_at - due_at
            await worker.driver.stop()
            return Sample(last, sizes.herd, usage, also={"first": first})

    series = await alternate(measure, SIDES, repetitions=sizes.repetitions)
    work = f"{sizes.herd:,} due at once, {sizes.herd_future:,} later: all started after"
    goal = at_most(0.3, "s") & also_at_most("first", 0.03, "s")
    return [Comparison(work, "s", series["ours"], series["raw"], at_most(1.0, "s"), goal)]
