"""An api and an engine on a database of their own, with jobs that do nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

import asyncpg

from benchmarks.laboratory import Laboratory, connected
from benchmarks.service_process import Service, open_service
from ostinato.client import OstinatoClient, open_client
from ostinato.pb.scheduler.v1.projects_pb2 import ApplyProjectConfigRequest
from ostinato.pb.scheduler.v1.triggers_pb2 import EmitTriggersRequest, Trigger

ENDED = "select count(*) from invocation_history"
_JOBS_PER_CALL = 1000
_LONGEST = 120.0
# Whatever columns there are: the copies are what the api made of the first one, but for their identity.
_COPY = """
with source as (
    select * from job where project = $1
), copies as (
    insert into job overriding system value
    select (jsonb_populate_record(null::job, to_jsonb(s) || jsonb_build_object(
               'job_id', 1000000000 + g, 'name', s.name || '-' || g, 'uid', gen_random_uuid()))).*
      from source s, generate_series(1, $2::int) g
    returning job_id
)
insert into job_cron
select (jsonb_populate_record(null::job_cron, to_jsonb(c) || jsonb_build_object(
           'job_id', n.job_id, 'job_name', c.job_name || '-' || (n.job_id - 1000000000),
           'slot', null, 'due_at', null))).*
  from source s join job_cron c using (job_id), copies n
"""


_PLAN = "update job_cron set slot = $1, due_at = $1 where job_id > 1000000000"


@dataclass(frozen=True, slots=True)
class Installation:
    api: Service
    engine: Service
    client: OstinatoClient
    database: asyncpg.Connection[asyncpg.Record]

    async def apply(self, project: str, jobs: Sequence[str]) -> list[str]:
        """`jobs` are stanzas without their braces; the names of the jobs, whose ids count up from j0."""
        stanzas = "\n".join(f"- {{id: j{number}, {job}}}" for number, job in enumerate(jobs))
        config = f"project: {project}\njobs:\n{stanzas}"
        request = ApplyProjectConfigRequest(project=f"projects/{project}", config=config, revision="1")
        await self.client.apply_project_config(request)
        return [f"projects/{project}/jobs/j{number}" for number in range(len(jobs))]

    async def emit_to_all(self, trigger_id: str, jobs: Sequence[str]) -> None:
        for first in range(0, len(jobs), _JOBS_PER_CALL):
            await self.client.emit_triggers(emission(jobs[first : first + _JOBS_PER_CALL], [trigger_id]))

    async def until(self, counted: str, wanted: int, *, seconds: float = _LONGEST) -> None:
        """Returns when the query answers `wanted`; looks less often where a look takes long."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(seconds):
            began = loop.time()
            while await self.database.fetchval(counted) != wanted:
                await asyncio.sleep(max(0.005, 10 * (loop.time() - began)))
                began = loop.time()

    async def copy_job(self, project: str, count: int) -> None:
        """`count` jobs like the only one of the project, with nothing planned."""
        await self.database.execute(_COPY, project, count)

    async def plan_copies(self, notice: timedelta) -> datetime:
        """All copies are due at one instant, which is returned."""
        at: datetime = await self.database.fetchval("select ostinato_now() + $1", notice)
        await self.database.execute(_PLAN, at)
        return at


def emission(jobs: Sequence[str], trigger_ids: Sequence[str]) -> EmitTriggersRequest:
    """Every trigger for every job."""
    return EmitTriggersRequest(
        batches=[EmitTriggersRequest.Batch(trigger=Trigger(id=trigger_id), jobs=jobs) for trigger_id in trigger_ids]
    )


@asynccontextmanager
async def open_installation(laboratory: Laboratory) -> AsyncIterator[Installation]:
    async with (
        laboratory.scheduler_database() as url,
        open_service("engine", url, laboratory.scratch / "engine.log") as engine,
        open_service("api", url, laboratory.scratch / "api.log") as api,
        open_client(api.grpc_address) as client,
        connected(url) as database,
    ):
        yield Installation(api, engine, client, database)
