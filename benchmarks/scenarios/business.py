"""What is left of the rate of a business transaction when it also adds a task."""

from __future__ import annotations

from benchmarks.comparison import Comparison, ratio_at_least
from benchmarks.driver_process import open_driver
from benchmarks.laboratory import Laboratory, Usage
from benchmarks.results import SIDES, Sample, alternate
from benchmarks.sizes import Sizes

_CALLERS = 10


async def add_in_business_transactions(laboratory: Laboratory, sizes: Sizes) -> list[Comparison]:
    async def rate(side: str, *, with_add: bool) -> tuple[float, Usage]:
        options = {"count": sizes.business, "callers": _CALLERS, "with_add": with_add}
        async with (
            laboratory.database(side) as url,
            open_driver(side, "business", url, **options) as driver,
        ):
            with laboratory.observe(driver) as usage:
                result = await driver.run()
            return sizes.business / result["seconds"], usage

    async def measure(side: str) -> Sample:
        alone, _ = await rate(side, with_add=False)
        with_add, usage = await rate(side, with_add=True)
        return Sample(with_add / alone, sizes.business, usage, also={"alone": alone, "with_add": with_add})

    series = await alternate(measure, SIDES, repetitions=sizes.repetitions)
    work = "business transaction + add: fraction kept"
    return [Comparison(work, "", series["ours"], series["raw"], ratio_at_least(0.8), ratio_at_least(0.95))]
