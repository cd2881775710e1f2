"""Old snapshots keep dead rows from being removed; a queue that rescans them slows down with every task."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from benchmarks.comparison import Comparison, also_at_least, also_at_most
from benchmarks.laboratory import Laboratory, connected
from benchmarks.results import Sample, alternate, related
from benchmarks.scenarios.latency import delays
from benchmarks.sizes import Sizes

_RATE = 800
_WARM_UP = 800


async def work_while_pinned(laboratory: Laboratory, sizes: Sizes) -> list[Comparison]:
    """As long as three overlapping transactions last: a backlog costs rate, a claim that rescans costs delay."""
    seconds = sizes.pinned_seconds

    async def measure(pin: float) -> Sample:
        async with laboratory.database("ours") as url, _pinned(url, pin):
            sample = await delays(laboratory, "ours", url, rate=_RATE, seconds=2 * seconds, warm_up=_WARM_UP)
        return replace(sample, value=(sample.tasks + _WARM_UP) / sample.usage.seconds)

    series = await alternate(measure, (0.0, seconds), repetitions=sizes.repetitions)
    work = f"800 adds/s beside transactions of {seconds:g} s: starts"
    ours = related(series[seconds], series[0.0], "of unpinned")
    first, goal = also_at_least("of unpinned", 0.9, " × unpinned"), also_at_least("of unpinned", 0.95, " × unpinned")
    return [Comparison(work, "tasks/s", ours, first=first, goal=goal & also_at_most("p99", 20, "ms"))]


@asynccontextmanager
async def _pinned(url: str, seconds: float) -> AsyncIterator[None]:
    """Three transactions of `seconds`, each begun when the one before is half through."""
    holders = [asyncio.ensure_future(_hold(url, after=part * seconds / 2, seconds=seconds)) for part in range(3)]
    try:
        yield
    finally:
        await asyncio.gather(*holders)


async def _hold(url: str, *, after: float, seconds: float) -> None:
    if not seconds:
        return
    async with connected(url) as connection:
        await asyncio.sleep(after)
        async with connection.transaction(isolation="repeatable_read"):
            await connection.execute("select 1")
            await asyncio.sleep(seconds)
