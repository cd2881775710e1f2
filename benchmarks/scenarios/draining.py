"""A backlog is run by one and by two worker processes. It ends when the last row is gone, not when it was started."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

from benchmarks.comparison import Comparison, also_at_least, at_least, ratio_at_least
from benchmarks.driver_process import open_driver
from benchmarks.laboratory import Laboratory, connected, until_empty, until_started
from benchmarks.results import SIDES, Sample, Series, alternate
from benchmarks.sizes import Sizes

_LONGEST = 60.0


async def drain(laboratory: Laboratory, sizes: Sizes) -> list[Comparison]:
    return [line for backlog in sizes.backlogs for line in await _drain_backlog(laboratory, sizes, backlog)]


async def _drain_backlog(laboratory: Laboratory, sizes: Sizes, backlog: int) -> list[Comparison]:
    async def measure(variant: tuple[str, int]) -> Sample:
        side, processes = variant
        async with laboratory.database(side) as url:
            async with open_driver(side, "bulk", url, count=backlog, batch=5000) as loader:
                await loader.run()
            return await _drain_once(laboratory, side, url, backlog, processes)

    variants = [(side, processes) for processes in (1, 2) for side in SIDES]
    series = await alternate(measure, variants, repetitions=sizes.repetitions)
    one, two = series["ours", 1], _scaling(series["ours", 2], series["ours", 1])
    return [
        Comparison(
            f"drain {backlog:,}, 1 process",
            "tasks/s",
            one,
            series["raw", 1],
            at_least(20_000, "tasks/s") | ratio_at_least(0.2),
            ratio_at_least(0.7),
        ),
        Comparison(
            f"drain {backlog:,}, 2 processes",
            "tasks/s",
            two,
            series["raw", 2],
            also_at_least("scaling", 1.2, " × 1 process"),
            ratio_at_least(0.62),
        ),
    ]


def _scaling(two: Series, one: Series) -> Series:
    """Each repetition with two processes, related to the one before it with one."""
    pairs = zip(two.samples, one.samples, strict=True)
    return Series(tuple(replace(both, also={"scaling": both.value / single.value}) for both, single in pairs))


async def _drain_once(laboratory: Laboratory, side: str, url: str, backlog: int, processes: int) -> Sample:
    async with connected(url) as watching, laboratory.workers(side, url, processes) as workers:
        with laboratory.observe(*(worker.driver for worker in workers)) as usage:
            began = time.perf_counter()
            for worker in workers:
                worker.driver.send("go")
            await until_started(workers, backlog, seconds=_LONGEST)
            await until_empty(watching, side, seconds=_LONGEST)
            seconds = time.perf_counter() - began
        await asyncio.gather(*(worker.driver.stop() for worker in workers))
        return Sample(backlog / seconds, backlog, usage)
