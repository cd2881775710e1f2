"""Adding outside a transaction: one at a time, by one and by ten callers, and in bulk."""

from __future__ import annotations

from benchmarks.comparison import Comparison, ratio_at_least
from benchmarks.driver_process import open_driver
from benchmarks.laboratory import Laboratory
from benchmarks.results import SIDES, Sample, Series, alternate
from benchmarks.sizes import Sizes


async def add_one_at_a_time(laboratory: Laboratory, sizes: Sizes) -> list[Comparison]:
    ours, raw = await _measure(laboratory, sizes, "add", sizes.adds, callers=1)
    return [Comparison("add, 1 caller", "tasks/s", ours, raw)]


async def add_concurrently(laboratory: Laboratory, sizes: Sizes) -> list[Comparison]:
    ours, raw = await _measure(laboratory, sizes, "add", sizes.concurrent_adds, callers=10)
    return [Comparison("add, 10 callers", "tasks/s", ours, raw, ratio_at_least(0.6), ratio_at_least(1.2))]


async def add_in_bulk(laboratory: Laboratory, sizes: Sizes) -> list[Comparison]:
    ours, raw = await _measure(laboratory, sizes, "bulk", sizes.bulk, batch=1000)
    return [Comparison("add in bulk of 1,000", "tasks/s", ours, raw, ratio_at_least(0.3), ratio_at_least(0.7))]


async def _measure(
    laboratory: Laboratory, sizes: Sizes, operation: str, count: int, **options: object
) -> tuple[Series, Series]:
    async def measure(side: str) -> Sample:
        async with (
            laboratory.database(side) as url,
            open_driver(side, operation, url, count=count, **options) as driver,
        ):
            with laboratory.observe(driver) as usage:
                result = await driver.run()
            return Sample(count / result["seconds"], count, usage)

    series = await alternate(measure, SIDES, repetitions=sizes.repetitions)
    return series["ours"], series["raw"]
