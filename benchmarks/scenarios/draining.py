"""A backlog is run by one and by two worker processes. It ends when the last row is gone, not when it was started."""

from __future__ import annotations

import asyncio
import time

from benchmarks.comparison import Comparison, also_at_least, at_least, ratio_at_least
from benchmarks.driver_process import open_driver
from benchmarks.laboratory import Laboratory, connected, until_empty, until_started
from benchmarks.results import SIDES, Sample, Series, alternate, related
from benchmarks.sizes import Sizes

_LONGEST = 60.0
_LEAST_RATE = 5_000  # tasks a second: slower is broken


async def drain(laboratory: Laboratory, sizes: Sizes) -> list[Comparison]:
    small, large = sizes.backlog, sizes.shared_backlog
    alone = await _measure(laboratory, small, [1], sizes.repetitions)
    shared = await _measure(laboratory, large, [1, 2], sizes.repetitions)
    return [
        _by_one(small, alone["ours", 1], alone["raw", 1]),
        _by_one(large, shared["ours", 1], shared["raw", 1]),
        Comparison(
            f"drain {large:,}, 2 processes",
            "tasks/s",
            related(shared["ours", 2], shared["ours", 1], "scaling"),
            shared["raw", 2],
            also_at_least("scaling", 1.2, " × 1 process"),
            ratio_at_least(0.62),
        ),
    ]


async def _measure(
    laboratory: Laboratory, backlog: int, processes: list[int], repetitions: int
) -> dict[tuple[str, int], Series]:
    async def measure(variant: tuple[str, int]) -> Sample:
        side, workers = variant
        async with laboratory.database(side) as url:
            return await _drain_once(laboratory, side, url, backlog, workers)

    variants = [(side, workers) for workers in processes for side in SIDES]
    return await alternate(measure, variants, repetitions=repetitions)


def _by_one(backlog: int, ours: Series, raw: Series) -> Comparison:
    first = at_least(20_000, "tasks/s") | ratio_at_least(0.2)
    return Comparison(f"drain {backlog:,}, 1 process", "tasks/s", ours, raw, first, ratio_at_least(0.7))


async def drain_under_strain(laboratory: Laboratory, sizes: Sizes) -> list[Comparison]:
    """Ours alone, related to a drain of the same repetition on fresh tables."""
    backlog, grown = sizes.backlog, sizes.growth

    async def measure(variant: str) -> Sample:
        async with laboratory.database("ours", future=grown if variant == "grown" else 0) as url:
            if variant == "analyzed":
                async with connected(url) as connection:
                    await connection.execute("vacuum (analyze) tq_ready")
            elif variant == "grown":
                await _drain_once(laboratory, "ours", url, grown, 1)
            return await _drain_once(laboratory, "ours", url, backlog, 1)

    series = await alternate(measure, ("fresh", "analyzed", "grown"), repetitions=sizes.repetitions)
    behind = f"with {grown:,} finished behind and {grown:,} later ones ahead"
    return [
        _strained("after VACUUM ANALYZE of the empty table", series["analyzed"], series["fresh"], 0.9, 0.9),
        _strained(behind, series["grown"], series["fresh"], 0.8, 0.95),
    ]


def _strained(how: str, strained: Series, fresh: Series, first: float, goal: float) -> Comparison:
    name, unit = "of normal", " × normal"
    ours = related(strained, fresh, name)
    targets = also_at_least(name, first, unit), also_at_least(name, goal, unit)
    return Comparison(f"drain {how}", "tasks/s", ours, None, *targets)


async def _drain_once(laboratory: Laboratory, side: str, url: str, backlog: int, processes: int) -> Sample:
    async with open_driver(side, "bulk", url, count=backlog, batch=5000) as loader:
        await loader.run()
    async with connected(url) as watching, laboratory.workers(side, url, processes) as workers:
        with laboratory.observe(*(worker.driver for worker in workers)) as usage:
            began = time.perf_counter()
            for worker in workers:
                worker.driver.send("go")
            await until_started(workers, backlog, seconds=_LONGEST + backlog / _LEAST_RATE)
            await until_empty(watching, side, seconds=_LONGEST)
            seconds = time.perf_counter() - began
        await asyncio.gather(*(worker.driver.stop() for worker in workers))
        return Sample(backlog / seconds, backlog, usage)
