"""The typed client of the api: messages of the public contract in and out, `ClientError` when a call is not OK.

Safe calls are repeated by themselves while the server is away for a moment; every call has a deadline.
Listings are async iterators that fetch page after page.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import uuid4

import grpc

from ostinato.client.channel import open_channel
from ostinato.client.connection import Connection
from ostinato.client.watching import watch
from ostinato.pb.scheduler.v1 import admin_pb2, invocations_pb2, jobs_pb2, projects_pb2, triggers_pb2
from ostinato.pb.scheduler.v1.admin_pb2_grpc import AdminServiceStub
from ostinato.pb.scheduler.v1.invocations_pb2_grpc import InvocationServiceStub
from ostinato.pb.scheduler.v1.jobs_pb2_grpc import JobServiceStub
from ostinato.pb.scheduler.v1.projects_pb2_grpc import ProjectServiceStub
from ostinato.pb.scheduler.v1.triggers_pb2_grpc import TriggerServiceStub

CALL_LIMIT = timedelta(seconds=10)
# A large project config is validated and written as a whole.
APPLY_LIMIT = timedelta(seconds=60)
# Millions of tasks are deleted in batches.
PURGE_LIMIT = timedelta(seconds=60)
# Some 100,000 slots are counted.
FORECAST_LIMIT = timedelta(seconds=30)
PAGE_SIZE = 100
LOG_PAGE_SIZE = 500
WATCH_PATIENCE = timedelta(minutes=1)


class OstinatoClient:
    """Build it with `open_client`. Names are resource names such as `projects/shop/jobs/nightly`."""

    def __init__(self, channel: grpc.aio.Channel, *, user: str = "", call_limit: timedelta = CALL_LIMIT) -> None:
        self._connection = Connection(user, call_limit)
        self._jobs = JobServiceStub(channel)
        self._invocations = InvocationServiceStub(channel)
        self._triggers = TriggerServiceStub(channel)
        self._projects = ProjectServiceStub(channel)
        self._admin = AdminServiceStub(channel)

    # Projects

    async def apply_project_config(
        self, request: projects_pb2.ApplyProjectConfigRequest
    ) -> projects_pb2.ApplyProjectConfigResponse:
        return await self._connection.call(self._projects.ApplyProjectConfig, request, limit=APPLY_LIMIT)

    async def get_project(self, name: str) -> projects_pb2.Project:
        return await self._connection.call(self._projects.GetProject, projects_pb2.GetProjectRequest(name=name))

    async def list_projects(self, *, page_size: int = PAGE_SIZE) -> AsyncIterator[projects_pb2.Project]:
        request = projects_pb2.ListProjectsRequest(page_size=page_size)
        async for page in self._connection.pages(self._projects.ListProjects, request):
            for project in page.projects:
                yield project

    # Jobs

    async def get_job(self, name: str) -> jobs_pb2.Job:
        return await self._connection.call(self._jobs.GetJob, jobs_pb2.GetJobRequest(name=name))

    async def list_jobs(self, parent: str, *, page_size: int = PAGE_SIZE) -> AsyncIterator[jobs_pb2.Job]:
        """`parent` is a project, or `projects/-` for every visible one."""
        request = jobs_pb2.ListJobsRequest(parent=parent, page_size=page_size)
        async for page in self._connection.pages(self._jobs.ListJobs, request):
            for job in page.jobs:
                yield job

    async def batch_get_jobs(self, names: Sequence[str]) -> Sequence[jobs_pb2.Job]:
        """Jobs that do not exist or are invisible are missing from the answer."""
        request = jobs_pb2.BatchGetJobsRequest(names=names)
        return (await self._connection.call(self._jobs.BatchGetJobs, request)).jobs

    async def pause_job(self, name: str, *, reason: str = "", abort_active: bool = False) -> jobs_pb2.Job:
        request = jobs_pb2.PauseJobRequest(name=name, reason=reason, abort_active=abort_active)
        return await self._connection.call(self._jobs.PauseJob, request)

    async def resume_job(self, name: str, *, reason: str = "") -> jobs_pb2.Job:
        return await self._connection.call(self._jobs.ResumeJob, jobs_pb2.ResumeJobRequest(name=name, reason=reason))

    async def preview_schedule(self, request: jobs_pb2.PreviewScheduleRequest) -> jobs_pb2.PreviewScheduleResponse:
        return await self._connection.call(self._jobs.PreviewSchedule, request)

    async def explain_job(self, request: jobs_pb2.ExplainJobRequest) -> jobs_pb2.ExplainJobResponse:
        return await self._connection.call(self._jobs.ExplainJob, request)

    async def forecast_starts(self, request: jobs_pb2.ForecastStartsRequest) -> jobs_pb2.ForecastStartsResponse:
        return await self._connection.call(self._jobs.ForecastStarts, request, limit=FORECAST_LIMIT)

    async def verify_job(self, request: jobs_pb2.VerifyJobRequest) -> AsyncIterator[jobs_pb2.VerifyJobResponse]:
        """Part by part, until all of the window has been looked at."""
        wanted = jobs_pb2.VerifyJobRequest()
        wanted.CopyFrom(request)
        while True:
            part = await self._connection.call(self._jobs.VerifyJob, wanted)
            yield part
            if not part.HasField("next_start_time"):
                return
            wanted.start_time.CopyFrom(part.next_start_time)

    # Triggers

    async def emit_triggers(self, request: triggers_pb2.EmitTriggersRequest) -> triggers_pb2.EmitTriggersResponse:
        return await self._connection.call(self._triggers.EmitTriggers, request)

    async def list_triggers(self, parent: str, *, page_size: int = PAGE_SIZE) -> AsyncIterator[triggers_pb2.Trigger]:
        """What is pending for a job, oldest first."""
        request = triggers_pb2.ListTriggersRequest(parent=parent, page_size=page_size)
        async for page in self._connection.pages(self._triggers.ListTriggers, request):
            for trigger in page.triggers:
                yield trigger

    # Invocations

    async def get_invocation(self, name: str) -> invocations_pb2.Invocation:
        request = invocations_pb2.GetInvocationRequest(name=name)
        return await self._connection.call(self._invocations.GetInvocation, request)

    async def list_invocations(
        self, parent: str, *, page_size: int = PAGE_SIZE
    ) -> AsyncIterator[invocations_pb2.Invocation]:
        """Newest first."""
        request = invocations_pb2.ListInvocationsRequest(parent=parent, page_size=page_size)
        async for page in self._connection.pages(self._invocations.ListInvocations, request):
            for invocation in page.invocations:
                yield invocation

    async def abort_invocation(self, name: str, *, reason: str = "") -> invocations_pb2.Invocation:
        request = invocations_pb2.AbortInvocationRequest(name=name, reason=reason)
        return await self._connection.call(self._invocations.AbortInvocation, request)

    async def retry_invocation(self, name: str) -> triggers_pb2.Trigger:
        """What now waits to become another run; a triage makes one of it as soon as the job has room."""
        request = invocations_pb2.RetryInvocationRequest(name=name)
        return (await self._connection.call(self._invocations.RetryInvocation, request)).trigger

    async def list_logs(self, parent: str, *, page_size: int = LOG_PAGE_SIZE) -> AsyncIterator[invocations_pb2.LogLine]:
        """Lines of an invocation's log so far, oldest first."""
        request = invocations_pb2.ListLogsRequest(parent=parent, page_size=page_size)
        async for page in self._connection.pages(self._invocations.ListLogs, request):
            for line in page.lines:
                yield line

    def watch_invocation(
        self, name: str, *, resume_token: str = "", patience: timedelta = WATCH_PATIENCE
    ) -> AsyncGenerator[invocations_pb2.WatchInvocationResponse, None]:
        """The invocation and its log so far, then every change and line as it happens, until it has ended.

        Goes on by itself after interruptions that are shorter than `patience`; then the invocation comes again, no line
        does.
        """
        request = invocations_pb2.WatchInvocationRequest(name=name, resume_token=resume_token)
        return watch(self._connection, self._invocations.WatchInvocation, request, patience=patience)

    async def append_logs(self, name: str, lines: Sequence[str], *, token: str, message_id: str = "") -> None:
        """For the run itself, which was given `token` when it was launched: 1 to 1,000 lines of 4 KiB.

        Give the same `message_id` with a repetition; a call's own repetitions have one anyway.
        """
        request = invocations_pb2.AppendLogsRequest(
            name=name, token=token, message_id=message_id or uuid4().hex, lines=lines
        )
        await self._connection.call(self._invocations.AppendLogs, request)

    # Administration

    async def get_debug_job_state(self, name: str) -> admin_pb2.DebugJobState:
        request = admin_pb2.GetDebugJobStateRequest(name=name)
        return await self._connection.call(self._admin.GetDebugJobState, request)

    async def list_queues(self) -> Sequence[admin_pb2.Queue]:
        return (await self._connection.call(self._admin.ListQueues, admin_pb2.ListQueuesRequest())).queues

    async def pause_queue(self, name: str) -> admin_pb2.Queue:
        """Nothing of it starts later than 2 s after the answer."""
        return await self._connection.call(self._admin.PauseQueue, admin_pb2.PauseQueueRequest(name=name))

    async def resume_queue(self, name: str) -> admin_pb2.Queue:
        return await self._connection.call(self._admin.ResumeQueue, admin_pb2.ResumeQueueRequest(name=name))

    async def purge_queue(self, name: str) -> admin_pb2.PurgeQueueResponse:
        """Tells how many waiting tasks were deleted."""
        request = admin_pb2.PurgeQueueRequest(name=name)
        return await self._connection.call(self._admin.PurgeQueue, request, limit=PURGE_LIMIT)

    async def list_dead_letters(
        self, *, queue: str = "", page_size: int = PAGE_SIZE
    ) -> AsyncIterator[admin_pb2.DeadLetter]:
        """Newest first; of all queues where none is named."""
        request = admin_pb2.ListDeadLettersRequest(queue=queue, page_size=page_size)
        async for page in self._connection.pages(self._admin.ListDeadLetters, request):
            for letter in page.dead_letters:
                yield letter

    async def get_dead_letter(self, letter_id: int) -> admin_pb2.DeadLetter:
        return await self._connection.call(self._admin.GetDeadLetter, admin_pb2.GetDeadLetterRequest(id=letter_id))

    async def requeue_dead_letters(self, ids: Sequence[int]) -> int:
        """How many of them were there. At most 500 at once."""
        request = admin_pb2.RequeueDeadLettersRequest(ids=ids)
        return (await self._connection.call(self._admin.RequeueDeadLetters, request)).requeued

    async def purge_dead_letters(self, ids: Sequence[int]) -> int:
        """How many of them were there. At most 500 at once."""
        request = admin_pb2.PurgeDeadLettersRequest(ids=ids)
        return (await self._connection.call(self._admin.PurgeDeadLetters, request)).purged

    async def purge_old_dead_letters(self, *, queue: str = "", older_than: timedelta | None = None) -> int:
        """How many were of this queue, and of this age; without either, nothing is deleted."""
        request = admin_pb2.PurgeDeadLettersRequest(queue=queue)
        if older_than is not None:
            request.older_than.FromTimedelta(older_than)
        return (await self._connection.call(self._admin.PurgeDeadLetters, request, limit=PURGE_LIMIT)).purged

    async def sweep(self) -> None:
        """Looks for tasks that never reached their remote queue."""
        await self._connection.call(self._admin.Sweep, admin_pb2.SweepRequest())


@asynccontextmanager
async def open_client(
    address: str, *, user: str = "", call_limit: timedelta = CALL_LIMIT
) -> AsyncIterator[OstinatoClient]:
    """A client of the api at HOST:PORT, closed at the end of the block."""
    channel = open_channel(address)
    try:
        yield OstinatoClient(channel, user=user, call_limit=call_limit)
    finally:
        await channel.close()
