"""A small project on a real database, with its engine's triage in the test's hands.

Tasks are claimed as a worker claims them; nothing runs by itself.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from prometheus_client import CollectorRegistry

from ostinato.jobflow.emit_triggers import Emission, Emitted, emit_triggers
from ostinato.jobflow.engine_tasks import LAUNCH_INVOCATION, TRIAGE_JOB
from ostinato.jobflow.kick_triage import kick_triage
from ostinato.jobflow.poke_cron import CronWish, poke_cron
from ostinato.jobstore.job_cron_store import lock_crons
from ostinato.jobstore.job_definition_codec import encode_definition
from ostinato.jobstore.schedule_terms_codec import encode_terms
from ostinato.pb.scheduler.v1.triggers_pb2 import Trigger
from ostinato.scheduling.job_definition import DEFAULT_TERMS, JobDefinition, TriggeringPolicy
from ostinato.scheduling.schedule import ScheduleTerms
from ostinato.storage.database import Database
from ostinato.storage.transaction import Row, Tx
from ostinato.taskqueue import Dispatcher, Outcome, TaskClass, TaskContext
from ostinato.taskqueue.embedded.ready_store import claim, find_strands
from ostinato.taskqueue.embedded.strand import strands_of
from ostinato.taskqueue.embedded.worker_store import register_worker
from ostinato_engine.engine_metrics import EngineMetrics
from ostinato_engine.triage_jobs import TriageJobs

PROJECT_ID = 1
PROJECT = "shop"
T0 = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
_LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
_SOMEBODY_WAITS = (
    "select count(*) > 0 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
)


def trigger(trigger_id: str, *, age: int = 0, order: int = 0, by: str = "user:ana@shop.example") -> Trigger:
    """An event, created `age` seconds before T0."""
    message = Trigger(id=trigger_id, order_in_batch=order, emitted_by=by)
    message.create_time.FromDatetime(T0 - timedelta(seconds=age))
    message.event.update({"id": trigger_id})
    return message


@dataclass(slots=True)
class Stage:
    """One worker's view of a project `shop`."""

    db: Database
    dispatcher: Dispatcher
    worker_id: int = 1
    triage_jobs: TriageJobs = field(init=False)
    metrics: EngineMetrics = field(init=False)
    rewinds: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.metrics = EngineMetrics(CollectorRegistry())
        self.triage_jobs = self.new_triage(Random(self.worker_id))

    def new_triage(self, random: Random) -> TriageJobs:
        return TriageJobs(
            self.db, self.dispatcher, metrics=self.metrics, rewound=lambda: self.rewinds.append(1), random=random
        )

    async def add_job(
        self, name: str, *, policy: TriggeringPolicy | None = None, schedule: str = "triggered", **definition: Any
    ) -> int:
        """An enabled job with its cron row."""
        job = JobDefinition(id=name, schedule=schedule, policy=policy or TriggeringPolicy(), **definition)
        stored = encode_definition(job)
        async with self.db.transaction() as tx:
            job_id: int = await tx.fetchval(
                """
                insert into job (project_id, project, name, realm, managed_by, definition, enabled, revision,
                                 created_at, updated_at)
                values ($1, $2, $3, '@legacy', 1, $4, true, 'r1', ostinato_now(), ostinato_now()) returning job_id
                """,
                PROJECT_ID,
                PROJECT,
                name,
                stored,
            )
            await self.poke(tx, [await self._wish(job_id, name, schedule, job.terms)])
        return job_id

    async def poke(self, tx: Tx, wishes: Sequence[CronWish]) -> None:
        """As a pause, a resume or an applied config does it, once it has locked the jobs."""
        locked = await lock_crons(tx, [wish.job_id for wish in wishes])
        await poke_cron(tx, self.dispatcher, wishes, locked=locked)

    async def _wish(
        self,
        job_id: int,
        name: str,
        schedule: str,
        terms: ScheduleTerms = DEFAULT_TERMS,
        *,
        paused: bool = False,
        enabled: bool = True,
    ) -> CronWish:
        return CronWish(
            job_id=job_id,  # type: ignore[arg-type]
            project_id=PROJECT_ID,
            job_name=f"projects/{PROJECT}/jobs/{name}",
            schedule=schedule,
            enabled=enabled,
            paused=paused,
            revision="r1",
            terms=encode_terms(terms),
        )

    async def emit(self, job_id: int, *triggers: Trigger) -> Emitted:
        async with self.db.transaction() as tx:
            emissions = [Emission(job_id, PROJECT_ID, message) for message in triggers]
            emitted = await emit_triggers(tx, self.dispatcher, emissions)
        return emitted[job_id]

    async def emit_ids(self, job_id: int, *ids: str) -> Emitted:
        return await self.emit(job_id, *(trigger(name, order=order) for order, name in enumerate(ids)))

    async def emit_slot(self, job_id: int, generation: int, slot: datetime) -> None:
        """What a tick of an absolute schedule emits."""
        message = Trigger(id=f"cron:v1:{generation}")
        message.create_time.FromDatetime(slot)
        message.cron.generation = generation
        async with self.db.transaction() as tx:
            await emit_triggers(tx, self.dispatcher, [Emission(job_id, PROJECT_ID, message, slot)])

    async def kick(self, *job_ids: int) -> None:
        async with self.db.transaction() as tx:
            await kick_triage(tx, self.dispatcher, [(job_id, PROJECT_ID) for job_id in job_ids])

    async def claim(self, task_class: TaskClass[Any] = TRIAGE_JOB, *, room: int = 1000) -> list[TaskContext]:
        """Claims what is due, as this stage's worker."""
        await register_worker(self.db, self.worker_id, timedelta(hours=1), "test")
        strands = await find_strands(self.db, [strands_of(self.dispatcher.queue_ids[task_class.queue])])
        if not strands:
            return []
        rows = await claim(self.db, self.worker_id, [(strand, _LONG_AGO, room) for strand in strands], room)
        return [TaskContext(row, self.worker_id, task_class) for row in rows]

    async def triage(self) -> Sequence[Outcome | None]:
        """Runs one batch of everything that waits for a triage."""
        tasks = await self.claim()
        assert tasks, "nothing asked for a triage"
        return await self.triage_jobs.handle_triage_jobs(tasks)

    async def triage_until_quiet(self) -> int:
        """How many batches it took."""
        batches = 0
        while tasks := await self.claim():
            await self.triage_jobs.handle_triage_jobs(tasks)
            batches += 1
        return batches

    async def launches(self) -> list[TaskContext]:
        return await self.claim(LAUNCH_INVOCATION)

    async def finish(self, *invocation_ids: int, status: int = 4, at: datetime | None = None, error: str = "") -> None:
        """Ends invocations and asks for the triage, as finishing does."""
        async with self.db.transaction() as tx:
            rows = await tx.fetch(
                """
                update invocation
                   set status = $2, version = version + 1, finished_at = coalesce($3, ostinato_now()),
                       error_message = $4
                 where invocation_id = any($1::bigint[]) returning job_id, project_id
                """,
                list(invocation_ids),
                status,
                at,
                error,
            )
            await kick_triage(tx, self.dispatcher, [(row[0], row[1]) for row in rows])

    async def until(self, condition: str, *, seconds: float = 10) -> None:
        """Waits for a query to answer true: for what other tasks or processes do in the database."""
        async with asyncio.timeout(seconds):
            while not await self.db.fetchval(condition):
                await asyncio.sleep(0.01)

    async def until_somebody_waits(self) -> None:
        """For a lock."""
        await self.until(_SOMEBODY_WAITS)

    async def pending(self, job_id: int) -> list[str]:
        rows = await self.db.fetch(
            "select trigger_id from trigger where job_id = $1 and consumed_at is null "
            "order by created_at, order_in_batch, trigger_id",
            job_id,
        )
        return [row[0] for row in rows]

    async def active(self, job_id: int) -> list[Row]:
        """Oldest first: a smaller id is newer."""
        return await self.db.fetch(
            "select i.*, n.job_name, n.job_uid, n.definition, n.incoming from invocation i "
            "join invocation_input n using (invocation_id) where job_id = $1 order by created_at, invocation_id",
            job_id,
        )

    async def job(self, job_id: int) -> Row:
        row = await self.db.fetchrow("select * from job where job_id = $1", job_id)
        assert row is not None
        return row

    async def triage_records(self, job_id: int) -> list[dict[str, Any]]:
        """Oldest first."""
        rows = await self.db.fetch("select record from triage_log where job_id = $1 order by at", job_id)
        return [json.loads(row[0]) for row in rows]

    async def ledger(self, job_id: int) -> list[Row]:
        return await self.db.fetch("select * from occurrence where job_id = $1 order by slot", job_id)
