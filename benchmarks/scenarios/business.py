"""What is left of the rate of a business transaction when it also adds a task."""

from __future__ import annotations

from benchmarks.comparison import Comparison, ratio_at_least
from benchmarks.driver_process import open_driver
from benchmarks.laboratory import Laboratory
from benchmarks.results import SIDES, Sample, alternate
from benchmarks.sizes import Sizes

_CALLERS = 10


async def add_in_business_transactions(laboratory: Laboratory, sizes: Sizes) -> list[Comparison]:
    async def measure(side: str) -> Sample:
        async with (
            laboratory.database(side) as url,
            open_driver(side, "business", url, count=sizes.business, callers=_CALLERS) as driver,
        ):
            with laboratory.observe(driver) as usage:
                seconds = await driver.run()
            rates = {name: sizes.business / spent for name, spent in seconds.items()}
            return Sample(seconds["alone"] / seconds["with_add"], 2 * sizes.business, usage, also=rates)

    series = await alternate(measure, SIDES, repetitions=sizes.repetitions)
    work = "business transaction + add: fraction kept"
    return [Comparison(work, "", series["ours"], series["raw"], ratio_at_least(0.8), ratio_at_least(0.95))]
