"""Tasks for Cloud Tasks: by reminders and the happy path, by a sweep over what was left behind, a sweep of nothing."""

from __future__ import annotations

from benchmarks.cloud_process import CloudProcess, open_cloud
from benchmarks.comparison import Comparison, at_least, at_most, ratio_at_least
from benchmarks.driver_process import open_remote_driver
from benchmarks.laboratory import Laboratory, connected
from benchmarks.left_behind import leave_behind
from benchmarks.resident_memory import peak_megabytes, resident_megabytes
from benchmarks.results import SIDES, Sample, Series, alternate
from benchmarks.sides.remote import CALLS_AT_ONCE
from benchmarks.sizes import Sizes

_MOST_BARE = 50_000  # calls: a rate needs no more, and each has a request that is made beforehand
_LEAST_RATE = 200  # a second: slower is broken
_PROBES = """
select coalesce(sum(idx_scan), 0)::int from pg_stat_all_indexes where indexrelname like 'tq_reminder%'
"""


async def submit_after_commits(laboratory: Laboratory, sizes: Sizes) -> list[Comparison]:
    """From the first add until the remote queue has all and no reminder is left; beside calls without any promise."""
    count = sizes.reminders

    async def measure(variant: tuple[str, int]) -> Sample:
        side, batch = variant
        callers = 10 if side == "ours" else CALLS_AT_ONCE
        async with laboratory.database("ours") as url, open_cloud(laboratory.scratch / "cloud.log") as cloud:
            return await _drive(
                laboratory, side, "add", url, cloud, count=count, more={"callers": callers, "batch": batch}
            )

    series = await alternate(measure, [("ours", 1), ("raw", 1), ("ours", 100)], repetitions=sizes.repetitions)
    one, many, raw = series["ours", 1], series["ours", 100], series["raw", 1]
    return [
        Comparison("transaction with a task → Cloud Tasks has it", "tasks/s", one, raw, at_least(1000, "tasks/s")),
        Comparison("the same, 100 tasks a transaction", "tasks/s", many, raw, None, ratio_at_least(0.9)),
    ]


async def sweep_stale_reminders(laboratory: Laboratory, sizes: Sizes) -> list[Comparison]:
    """`growth`: memory that the sweeping process took on besides what it had before."""
    stale = sizes.stale_reminders

    async def measure(side: str) -> Sample:
        count = stale if side == "ours" else min(stale, _MOST_BARE)
        async with laboratory.database("ours") as url, open_cloud(laboratory.scratch / "cloud.log") as cloud:
            if side == "ours":
                await leave_behind(url, count)
            return await _drive(laboratory, side, "sweep", url, cloud, count=count)

    series = await alternate(measure, SIDES, repetitions=sizes.repetitions if stale < 100_000 else 1)
    work = f"sweep of {stale:,} stale reminders"
    return [Comparison(work, "tasks/s", series["ours"], series["raw"], None, ratio_at_least(0.8))]


async def sweep_an_empty_table(laboratory: Laboratory, _: Sizes) -> list[Comparison]:
    """After a million were swept it is empty, too, but for what vacuum has not yet removed."""
    async with laboratory.database("ours") as url, open_cloud(laboratory.scratch / "cloud.log") as cloud:
        async with connected(url) as connection:
            before = await connection.fetchval(_PROBES)
        await _drive(laboratory, "ours", "sweep", url, cloud, count=1)
        async with connected(url) as connection:  # a statement of its own: what a server process did is told at its end
            probes = await connection.fetchval(_PROBES) - before
    series = Series((Sample(probes),))
    return [Comparison("sweep of an empty table", "index probes", series, None, None, at_most(16, "index probes"))]


async def _drive(
    laboratory: Laboratory,
    side: str,
    operation: str,
    url: str,
    cloud: CloudProcess,
    *,
    count: int,
    more: dict[str, int] | None = None,
) -> Sample:
    arguments = {"cloud": cloud.address, "count": count, **(more or {})}
    async with open_remote_driver(side, operation, url, **arguments) as driver:
        resident = resident_megabytes(driver.pid) or 0.0
        with laboratory.observe(driver, cloud) as usage:
            result = await driver.run(lasts=count / _LEAST_RATE)
        growth = (peak_megabytes(driver.pid) or 0.0) - resident
    return Sample(count / result["seconds"], count, usage, {"growth MB": growth})
