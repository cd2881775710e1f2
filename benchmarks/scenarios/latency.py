"""From the answer to a commit to the begin of the handler, in two processes at 50 adds a second."""

from __future__ import annotations

import asyncio
import statistics

from benchmarks.comparison import Comparison, also_at_most, at_most
from benchmarks.driver_process import open_driver
from benchmarks.laboratory import Laboratory, until_started
from benchmarks.results import SIDES, Sample, Series, alternate
from benchmarks.sizes import Sizes

_RATE = 50
_WARM_UP = 25
_IDLE_RATE = 0.4  # a worker that saw work within the last second polls fast


async def commit_to_start(laboratory: Laboratory, sizes: Sizes) -> list[Comparison]:
    async def measure(side: str) -> Sample:
        async with laboratory.database(side) as url:
            return await delays(laboratory, side, url, rate=_RATE, seconds=sizes.latency_seconds, warm_up=_WARM_UP)

    series = await alternate(measure, SIDES, repetitions=sizes.repetitions)
    goal = at_most(0.92, "ms") & also_at_most("p99", 2.88, "ms")
    return [Comparison("commit → start at 50/s, p50", "ms", series["ours"], series["raw"], at_most(1.84, "ms"), goal)]


async def commit_to_start_by_polling(laboratory: Laboratory, sizes: Sizes) -> list[Comparison]:
    """Where nobody can LISTEN. Idle ones at the same time: they wait for their timers, and each tells little."""

    async def measure(rate: float, warm_up: int) -> Sample:
        async with laboratory.database("ours") as url:
            seconds = sizes.polling_seconds
            return await delays(laboratory, "ours", url, rate=rate, seconds=seconds, warm_up=warm_up, listen=False)

    idle = await asyncio.gather(*(measure(_IDLE_RATE, 1) for _ in range(sizes.polling_pairs)))
    busy = [await measure(_RATE, _WARM_UP) for _ in range(sizes.repetitions)]
    first = at_most(250, "ms")
    return [
        Comparison(
            "commit → start without LISTEN, idle, p50", "ms", Series(tuple(idle)), None, first, at_most(200, "ms")
        ),
        Comparison(
            "commit → start without LISTEN at 50/s, p50", "ms", Series(tuple(busy)), None, first, at_most(20, "ms")
        ),
    ]


async def delays(
    laboratory: Laboratory, side: str, url: str, *, rate: float, seconds: float, warm_up: int, listen: bool = True
) -> Sample:
    """Milliseconds from the answer to the begin, in a process that adds and one that works."""
    async with (
        laboratory.workers(side, url, 1, log=True, listen=listen) as (worker,),
        open_driver(side, "produce", url, rate=rate, seconds=seconds, warm_up=warm_up) as producer,
    ):
        worker.driver.send("go")
        with laboratory.observe(worker.driver, producer) as usage:
            returned = dict((await producer.run(lasts=seconds))["returned"])
            await until_started([worker], len(returned) + warm_up, seconds=30)
        began = dict((await worker.driver.stop())["log"])
    taken = sorted((began[number] - at) * 1000 for number, at in returned.items())
    return Sample(statistics.median(taken), len(taken), usage, also={"p99": taken[len(taken) * 99 // 100]})
