"""From the answer to a commit to the begin of the handler, in two processes at 50 adds a second."""

from __future__ import annotations

import statistics

from benchmarks.comparison import Comparison, also_at_most, at_most
from benchmarks.driver_process import open_driver
from benchmarks.laboratory import Laboratory, until_started
from benchmarks.results import SIDES, Sample, alternate
from benchmarks.sizes import Sizes

_RATE = 50
_WARM_UP = 25


async def commit_to_start(laboratory: Laboratory, sizes: Sizes) -> list[Comparison]:
    async def measure(side: str) -> Sample:
        async with (
            laboratory.database(side) as url,
            laboratory.workers(side, url, 1, log=True) as (worker,),
            open_driver(side, "produce", url, rate=_RATE, seconds=sizes.latency_seconds, warm_up=_WARM_UP) as producer,
        ):
            worker.driver.send("go")
            with laboratory.observe(worker.driver, producer) as usage:
                returned = dict((await producer.run())["returned"])
                await until_started([worker], len(returned) + _WARM_UP, seconds=30)
            began = dict((await worker.driver.stop())["log"])
        delays = sorted((began[number] - at) * 1000 for number, at in returned.items())
        return Sample(statistics.median(delays), len(delays), usage, also={"p99": delays[len(delays) * 99 // 100]})

    series = await alternate(measure, SIDES, repetitions=sizes.repetitions)
    goal = at_most(0.92, "ms") & also_at_most("p99", 2.88, "ms")
    return [Comparison("commit → start at 50/s, p50", "ms", series["ours"], series["raw"], at_most(1.84, "ms"), goal)]
