"""The scheduler itself, through its real api and engine processes. There is no bare loop to compare it with."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence

from benchmarks.comparison import Comparison, also_at_most, at_least, at_most
from benchmarks.driver import paced
from benchmarks.installation import ENDED, Installation, emission, open_installation
from benchmarks.laboratory import Laboratory
from benchmarks.results import Sample, Series
from benchmarks.sizes import Sizes
from ostinato.client import OstinatoClient

_RATE = 50
_WARM_UP = 25  # launches that meet connections and statements that are new
_NOTHING = "noop: {}"
_TRIGGERS_PER_CALL = 100
_PAUSE = "update tq_queue set paused_at = case when name = any($1::text[]) then ostinato_now() end"
_WAKE = "select pg_notify('ostinato_tq', '*')"
_PENDING = "select count(*) from trigger where consumed_at is null"


async def run_many_jobs(laboratory: Laboratory, sizes: Sizes) -> list[Comparison]:
    latencies, cycles, triages = [], [], []
    for _ in range(sizes.repetitions):
        async with open_installation(laboratory) as installation:
            latencies.append(await _trigger_to_launch(laboratory, installation, sizes.trigger_seconds))
            jobs = await installation.apply("many", [_NOTHING] * sizes.jobs)
            cycles.append(await _life_cycles(laboratory, installation, jobs))
            triages.append(await _triages(laboratory, installation, jobs))
    goal = at_most(10, "ms") & also_at_most("p99", 50, "ms")
    return [
        Comparison("EmitTriggers returned → launched at 50/s, p50", "ms", Series(tuple(latencies)), goal=goal),
        Comparison(
            f"triage of {sizes.jobs:,} jobs with a trigger each",
            "jobs/s",
            Series(tuple(triages)),
            first=at_least(3_000, "jobs/s"),
            goal=at_least(10_000, "jobs/s"),
        ),
        Comparison(
            f"trigger, triage, launch, finish of {sizes.jobs:,} jobs",
            "runs/s",
            Series(tuple(cycles)),
            goal=at_least(1_000, "runs/s"),
        ),
    ]


async def run_a_hot_job(laboratory: Laboratory, sizes: Sizes) -> list[Comparison]:
    """One run at a time is what hurts: each waits for the triage that acknowledges the end of the one before."""
    one, many = [], []
    for _ in range(sizes.repetitions):
        async with open_installation(laboratory) as installation:
            one.append(await _hot_cycles(laboratory, installation, "serial", at_once=1, count=sizes.hot))
            many.append(await _hot_cycles(laboratory, installation, "wide", at_once=100, count=sizes.hot))
    goal = at_least(300, "runs/s")
    return [
        Comparison(f"{sizes.hot:,} runs of one job, one at a time", "runs/s", Series(tuple(one)), goal=goal),
        Comparison(f"{sizes.hot:,} runs of one job, 100 at a time", "runs/s", Series(tuple(many)), goal=goal),
    ]


async def _trigger_to_launch(laboratory: Laboratory, installation: Installation, seconds: float) -> Sample:
    """A job of its own for each trigger, so that no run waits for the one before it."""
    jobs = await installation.apply("single", [_NOTHING] * (int(_RATE * seconds) + _WARM_UP))
    returned: dict[str, float] = {}

    async def emit(number: int) -> None:
        await installation.client.emit_triggers(emission([jobs[number]], [f"single-{number}"]))
        returned[jobs[number]] = time.time()

    with laboratory.observe(installation.api, installation.engine) as usage:
        await paced(_RATE, len(jobs), emit)
        await installation.until(ENDED, len(jobs))
    delays = sorted([(await _launched_at(installation.client, job) - returned[job]) * 1000 for job in jobs[_WARM_UP:]])
    p99 = delays[len(delays) * 99 // 100]
    return Sample(statistics.median(delays), len(jobs), usage, also={"p99": p99})


async def _launched_at(client: OstinatoClient, job: str) -> float:
    async for invocation in client.list_invocations(job):
        return invocation.start_time.ToNanoseconds() / 1e9
    raise AssertionError(f"{job} never ran")


async def _life_cycles(laboratory: Laboratory, installation: Installation, jobs: Sequence[str]) -> Sample:
    """From the first EmitTriggers call until the last end is acknowledged and in the history."""
    ended = await installation.database.fetchval(ENDED)
    with laboratory.observe(installation.api, installation.engine) as usage:
        await installation.emit_to_all("cycle", jobs)
        await installation.until(ENDED, ended + len(jobs))
    return Sample(len(jobs) / usage.seconds, len(jobs), usage)


async def _triages(laboratory: Laboratory, installation: Installation, jobs: Sequence[str]) -> Sample:
    """Triages alone: launches are paused, and triages too until every job has its trigger."""
    await installation.database.execute(_PAUSE, ["triages", "launches"])
    await installation.emit_to_all("triage", jobs)
    with laboratory.observe(installation.engine) as usage:
        await installation.database.execute(_PAUSE, ["launches"])
        await installation.database.execute(_WAKE)
        await installation.until(_PENDING, 0)
    return Sample(len(jobs) / usage.seconds, len(jobs), usage)


async def _hot_cycles(
    laboratory: Laboratory, installation: Installation, project: str, *, at_once: int, count: int
) -> Sample:
    """All triggers wait at the start, and each gets a run of its own."""
    policy = f"triggering_policy: {{max_concurrent_invocations: {at_once}, max_batch_size: 1}}"
    jobs = await installation.apply(project, [f"{_NOTHING}, {policy}"])
    ended = await installation.database.fetchval(ENDED)
    with laboratory.observe(installation.api, installation.engine) as usage:
        for first in range(0, count, _TRIGGERS_PER_CALL):
            numbers = range(first, min(count, first + _TRIGGERS_PER_CALL))
            await installation.client.emit_triggers(emission(jobs, [f"hot-{number}" for number in numbers]))
        await installation.until(ENDED, ended + count)
    return Sample(count / usage.seconds, count, usage)
