"""The scheduler itself, through its real api and engine processes. There is no bare loop to compare it with."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg

from benchmarks.comparison import Comparison, also_at_most, at_least, at_most
from benchmarks.driver import paced
from benchmarks.laboratory import Laboratory, connected
from benchmarks.results import Sample, Series
from benchmarks.service_process import Service, open_service
from benchmarks.sizes import Sizes
from ostinato.client import OstinatoClient, open_client
from ostinato.pb.scheduler.v1.projects_pb2 import ApplyProjectConfigRequest
from ostinato.pb.scheduler.v1.triggers_pb2 import EmitTriggersRequest, Trigger

_RATE = 50
_WARM_UP = 25  # launches that meet connections and statements that are new
_JOBS_PER_CALL = 1000
_LONGEST = 120.0
_PAUSE = "update tq_queue set paused_at = case when name = any($1::text[]) then ostinato_now() end"
_WAKE = "select pg_notify('ostinato_tq', '*')"
_PENDING = "select count(*) from trigger where consumed_at is null"
_ENDED = "select count(*) from invocation_history"


@dataclass(frozen=True, slots=True)
class Installation:
    """One api and one engine on a database of their own."""

    api: Service
    engine: Service
    client: OstinatoClient
    database: asyncpg.Connection[asyncpg.Record]


async def run_the_scheduler(laboratory: Laboratory, sizes: Sizes) -> list[Comparison]:
    latencies, cycles, triages = [], [], []
    for _ in range(sizes.repetitions):
        async with _installed(laboratory) as installation:
            latencies.append(await _trigger_to_launch(laboratory, installation, sizes.trigger_seconds))
            jobs = await _apply(installation.client, "many", sizes.jobs)
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


async def _trigger_to_launch(laboratory: Laboratory, installation: Installation, seconds: float) -> Sample:
    """A job of its own for each trigger, so that no run waits for the one before it."""
    jobs = await _apply(installation.client, "single", int(_RATE * seconds) + _WARM_UP)
    returned: dict[str, float] = {}

    async def emit(number: int) -> None:
        await installation.client.emit_triggers(_request(f"single-{number}", [jobs[number]]))
        returned[jobs[number]] = time.time()

    with laboratory.observe(installation.api, installation.engine) as usage:
        await paced(_RATE, len(jobs), emit)
        await _until(installation, _ENDED, len(jobs))
    delays = sorted([(await _launched_at(installation.client, job) - returned[job]) * 1000 for job in jobs[_WARM_UP:]])
    p99 = delays[len(delays) * 99 // 100]
    return Sample(statistics.median(delays), len(jobs), usage, also={"p99": p99})


async def _launched_at(client: OstinatoClient, job: str) -> float:
    async for invocation in client.list_invocations(job):
        return invocation.start_time.ToNanoseconds() / 1e9
    raise AssertionError(f"{job} never ran")


async def _life_cycles(laboratory: Laboratory, installation: Installation, jobs: Sequence[str]) -> Sample:
    """From the first EmitTriggers call until the last end is acknowledged and in the history."""
    ended = await installation.database.fetchval(_ENDED)
    with laboratory.observe(installation.api, installation.engine) as usage:
        await _emit_to_all(installation.client, "cycle", jobs)
        await _until(installation, _ENDED, ended + len(jobs))
    return Sample(len(jobs) / usage.seconds, len(jobs), usage)


async def _triages(laboratory: Laboratory, installation: Installation, jobs: Sequence[str]) -> Sample:
    """Triages alone: launches are paused, and triages too until every job has its trigger."""
    await installation.database.execute(_PAUSE, ["triages", "launches"])
    await _emit_to_all(installation.client, "triage", jobs)
    with laboratory.observe(installation.engine) as usage:
        await installation.database.execute(_PAUSE, ["launches"])
        await installation.database.execute(_WAKE)
        await _until(installation, _PENDING, 0)
    return Sample(len(jobs) / usage.seconds, len(jobs), usage)


@asynccontextmanager
async def _installed(laboratory: Laboratory) -> AsyncIterator[Installation]:
    async with (
        laboratory.scheduler_database() as url,
        open_service("engine", url, laboratory.scratch / "engine.log") as engine,
        open_service("api", url, laboratory.scratch / "api.log") as api,
        open_client(api.grpc_address) as client,
        connected(url) as database,
    ):
        yield Installation(api, engine, client, database)


async def _apply(client: OstinatoClient, project: str, count: int) -> list[str]:
    """A project of `count` jobs that do nothing; their names."""
    jobs = "\n".join(f"- {{id: j{number}, noop: {{}}}}" for number in range(count))
    config = f"project: {project}\njobs:\n{jobs}"
    request = ApplyProjectConfigRequest(project=f"projects/{project}", config=config, revision="1")
    await client.apply_project_config(request)
    return [f"projects/{project}/jobs/j{number}" for number in range(count)]


async def _emit_to_all(client: OstinatoClient, trigger_id: str, jobs: Sequence[str]) -> None:
    for first in range(0, len(jobs), _JOBS_PER_CALL):
        await client.emit_triggers(_request(trigger_id, jobs[first : first + _JOBS_PER_CALL]))


def _request(trigger_id: str, jobs: Sequence[str]) -> EmitTriggersRequest:
    return EmitTriggersRequest(batches=[EmitTriggersRequest.Batch(trigger=Trigger(id=trigger_id), jobs=jobs)])


async def _until(installation: Installation, counted: str, wanted: int) -> None:
    async with asyncio.timeout(_LONGEST):
        while await installation.database.fetchval(counted) != wanted:  # noqa: ASYNC110 - only the tables know
            await asyncio.sleep(0.005)
