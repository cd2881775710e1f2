"""The world around the scheduler: people who call the api, and the work that an http target starts.

Callers are stubborn, as good clients are: a call that got no answer is repeated until it gets one.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from random import Random
from typing import Any, TypeVar

from ostinato.auth.call_access import CallAccess
from ostinato.auth.identity import DEV_DEFAULT_USER
from ostinato.auth.page_token import PageTokens
from ostinato.auth.permissions import Caller, Permission
from ostinato.errors import CommitOutcomeUnknown, FailedPrecondition, NotFound, Transient
from ostinato.jobflow.engine_tasks import HANDLE_NOTIFICATION
from ostinato.jobflow.task_queue import TaskQueue
from ostinato.jobstore.job_store import load_jobs_of_project
from ostinato.jobstore.project_store import create_project, find_project, lock_project
from ostinato.pb.ingest.v1.notifications_pb2 import NotifyRequest
from ostinato.pb.internal.v1.engine_tasks_pb2 import HandleNotificationTask
from ostinato.pb.scheduler.v1.invocations_pb2 import AbortInvocationRequest, RetryInvocationRequest
from ostinato.pb.scheduler.v1.jobs_pb2 import ExplainJobRequest, PauseJobRequest, ResumeJobRequest
from ostinato.pb.scheduler.v1.triggers_pb2 import EmitTriggersRequest, Trigger
from ostinato.scheduling.invocation import InvocationStatus
from ostinato.scheduling.names import invocation_name, job_name
from ostinato.scheduling.targets import HttpSpec
from ostinato.storage.database import Database
from ostinato.storage.transaction import Tx
from ostinato.taskqueue import Dispatcher
from ostinato.testing.virtual_time import VirtualClock
from ostinato_api.abort_invocation import abort_invocation
from ostinato_api.api_resources import ApiResources
from ostinato_api.apply_plan import ConfigSource, apply_plan
from ostinato_api.emit_triggers_command import emit_triggers_command
from ostinato_api.explain_job import explain_job
from ostinato_api.pause_job import pause_job, resume_job
from ostinato_api.project_config.plan_config import plan_config
from ostinato_api.project_config.read_project_config import read_project_config
from ostinato_api.retry_invocation import retry_invocation
from ostinato_engine.targets.target import LaunchResult, Log, Run
from tests.simulation.random_jobs import PROJECT

T = TypeVar("T")
_ANA = Caller(DEV_DEFAULT_USER, is_admin=True)
_AGAIN_AFTER = 0.2


@dataclass(slots=True)
class ReportedEnd:
    """What was reported as the end of a run. `accepted_at`: when the first answer came that such a report is stored."""

    statuses: set[str] = field(default_factory=set)
    accepted_at: datetime | None = None


class People:
    """Everything they were told was accepted is remembered in `accepted`: (job, trigger id). `reported`: by run."""

    def __init__(self, db: Database, dispatcher: Dispatcher, clock: VirtualClock) -> None:
        self.accepted: Counter[tuple[str, str]] = Counter()
        self.reported: dict[int, ReportedEnd] = defaultdict(ReportedEnd)
        self._db = db
        self._dispatcher = dispatcher
        self._clock = clock
        none: Any = None  # what the commands used here don't touch
        self._api = ApiResources(db, TaskQueue(dispatcher), PageTokens(bytes(32)), none, none)

    async def insist(self, call: Callable[[], Awaitable[T]]) -> T:
        """Repeats what got no answer."""
        while True:
            try:
                return await call()
            except (Transient, CommitOutcomeUnknown):
                await self._clock.sleep(_AGAIN_AFTER)

    async def apply(self, text: str) -> None:
        spec = read_project_config(text)

        async def change(tx: Tx) -> None:
            if await find_project(tx, PROJECT) is None:
                await create_project(tx, PROJECT)
            project = await lock_project(tx, PROJECT)
            assert project is not None
            plan = plan_config(await load_jobs_of_project(tx, PROJECT), spec.stanzas)
            await apply_plan(tx, self._dispatcher, plan, ConfigSource(project.project_id, PROJECT, "r", ""))

        await self.insist(lambda: self._db.transact(change))

    async def emit(self, job: str, ids: list[str]) -> None:
        request = EmitTriggersRequest(
            batches=[EmitTriggersRequest.Batch(trigger=Trigger(id=name), jobs=[job_name(PROJECT, job)]) for name in ids]
        )
        access = CallAccess(_ANA, Permission.JOBS_TRIGGER)
        response = await self.insist(lambda: emit_triggers_command(self._api, access, request))
        if response.results[0].accepted or response.results[0].duplicate:
            for name in ids:
                self.accepted[job, name] += 1

    async def pause(self, job: str, *, abort_active: bool) -> None:
        request = PauseJobRequest(name=job_name(PROJECT, job), reason="a walk", abort_active=abort_active)
        await self._ask(lambda: pause_job(self._api, CallAccess(_ANA, Permission.JOBS_PAUSE), request))

    async def resume(self, job: str) -> None:
        request = ResumeJobRequest(name=job_name(PROJECT, job))
        await self._ask(lambda: resume_job(self._api, CallAccess(_ANA, Permission.JOBS_RESUME), request))

    async def abort(self, name: str) -> None:
        request = AbortInvocationRequest(name=name)
        await self._ask(lambda: abort_invocation(self._api, CallAccess(_ANA, Permission.JOBS_ABORT), request))

    async def retry(self, name: str) -> None:
        request = RetryInvocationRequest(name=name)
        await self._ask(lambda: retry_invocation(self._api, CallAccess(_ANA, Permission.JOBS_TRIGGER), request))

    async def explain(self, job: str, at: datetime) -> str:
        """The code of the first thing that is told about that instant."""
        request = ExplainJobRequest(name=job_name(PROJECT, job))
        request.at.FromDatetime(at)
        answer = await self.insist(lambda: explain_job(self._api, CallAccess(_ANA, Permission.JOBS_GET), request))
        code: str = answer.findings[0].code
        return code

    async def find_runs(self, table: str) -> list[str]:
        """Names of runs, of the active table or of the history."""
        rows = await self.insist(
            lambda: self._db.fetch(
                f"select i.invocation_id, n.job_name from {table} i join invocation_input n using (invocation_id) "
                "order by 1"
            )
        )
        return [invocation_name(row["job_name"], row["invocation_id"]) for row in rows]

    async def notify(self, run: Run, status: NotifyRequest.Status, message_id: str) -> None:
        """As the ingester does once it knows who speaks."""
        name = NotifyRequest.Status.Name(status)
        notification = NotifyRequest(message_id=message_id, status=status, log_lines=[f"{message_id} says {name}"])
        task = HandleNotificationTask(invocation_id=run.id, job_id=run.job_id, notification=notification)
        ends = status != NotifyRequest.RUNNING
        if ends:
            self.reported[run.id].statuses.add(name)
        await self.insist(lambda: self._dispatcher.add(HANDLE_NOTIFICATION, task))
        if ends and self.reported[run.id].accepted_at is None:
            self.reported[run.id].accepted_at = self._clock.now()

    async def _ask(self, call: Callable[[], Awaitable[object]]) -> None:
        try:
            await self.insist(call)
        except (FailedPrecondition, NotFound):
            return  # it is disabled, ended or gone by now


class RemoteWork:
    """What runs elsewhere. How it goes follows from the seed, the invocation and the number of the call.

    It may answer at once or later, fail, break, report once, twice or never, and before its own call has returned.
    """

    def __init__(self, seed: int, clock: VirtualClock) -> None:
        self.runs: dict[int, Run] = {}
        self.reports: asyncio.Queue[tuple[float, Run, NotifyRequest.Status, str]] = asyncio.Queue()
        self._seed = seed
        self._clock = clock
        self._calls: Counter[int] = Counter()

    async def launch(self, run: Run, spec: HttpSpec, log: Log) -> LaunchResult:
        self.runs[run.id] = run
        self._calls[run.id] += 1
        random = Random(f"{self._seed}/{run.id}/{self._calls[run.id]}")
        if spec.multistage:
            self._plan_reports(run, random)
        await self._clock.sleep(random.choice((0.0, 0.01, 0.5, 3.0)))
        if random.random() < 0.1:
            raise OSError("simulated: the call broke on our side")
        if random.random() < 0.25:
            return LaunchResult.failed("WORK_FAILED", "simulated", retryable=random.random() < 0.7)
        log("simulated: called")
        return LaunchResult(InvocationStatus.RUNNING if spec.multistage else InvocationStatus.SUCCEEDED)

    def _plan_reports(self, run: Run, random: Random) -> None:
        statuses = (NotifyRequest.RUNNING, NotifyRequest.SUCCEEDED, NotifyRequest.FAILED)
        for number in range(random.choice((0, 1, 1, 2, 3))):
            delay = random.choice((0.0, 0.2, 2.0, 8.0, 30.0))
            status = random.choice(statuses)
            for again in random.choice(((0.0,), (0.0,), (0.0, 0.0), (0.0, 3.0))):
                self.reports.put_nowait((delay + again, run, status, f"{self._calls[run.id]}.{number}"))


async def post_reports(work: RemoteWork, people: People, clock: VirtualClock) -> None:
    """Runs beside the walk: brings each report after its delay, whatever has become of the engine that called."""

    async def bring(delay: float, run: Run, status: NotifyRequest.Status, message_id: str) -> None:
        await clock.sleep(delay)
        await people.notify(run, status, message_id)

    async with asyncio.TaskGroup() as group:
        while True:
            group.create_task(bring(*await work.reports.get()))
