"""Adding to Cloud Tasks: with reminders as a user's transaction does it, and by bare calls of the official client."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Protocol
from uuid import UUID

from google.cloud import tasks_v2
from google.protobuf.wrappers_pb2 import Int64Value

from ostinato.clock import SystemClock
from ostinato.config.cloud_tasks import CloudTasksSettings
from ostinato.storage.database import Database, DatabaseSettings, open_database
from ostinato.taskqueue import Backend, Dispatcher, TaskClass, TaskKind, open_dispatcher
from ostinato.taskqueue.cloud_tasks.cloud_client import open_cloud_client
from ostinato.taskqueue.cloud_tasks.cloud_tasks_queue import CloudTasksQueue, open_cloud_tasks_queue
from ostinato.taskqueue.cloud_tasks.request_building import Moment, RequestBuilder
from ostinato.taskqueue.reminders.reminder import NewReminder, encode_reminder, new_reminder_id
from ostinato.taskqueue.remote_queue import RemoteAdd
from ostinato.taskqueue.sweeping.in_process_sweeper import InProcessSweeper

QUEUE = "benchmark"
REMOTE = TaskClass("remote", Int64Value, kind=TaskKind.TRANSACTIONAL, queue=QUEUE)
CALLS_AT_ONCE = 64  # of the bare client: as the happy path
_LEFT = "select exists (select from tq_reminder)"


def cloud_settings(address: str) -> CloudTasksSettings:
    """Nothing listens at its target; the queue is paused."""
    return CloudTasksSettings(
        "benchmark", "here", "http://127.0.0.1:9", "pusher@benchmark.example", server_address=address
    )


def make_requests(count: int) -> Iterator[tuple[UUID, tasks_v2.CreateTaskRequest]]:
    """What our transactions would submit, each under the id of its reminder."""
    builder, moment = RequestBuilder(cloud_settings("")), Moment(datetime.now(UTC))
    for number in range(count):
        reminder_id = new_reminder_id()
        payload = Int64Value(value=number)
        yield reminder_id, builder.build(RemoteAdd(REMOTE, [payload]), payload, reminder_id.hex, moment)


def make_stale_reminders(count: int) -> Iterator[NewReminder]:
    """As if whoever wrote them had died at once."""
    now = datetime.now(UTC)
    for reminder_id, request in make_requests(count):
        encoded = request.SerializeToString()
        payload = encode_reminder(task_class=REMOTE.name, queue=QUEUE, created=now, request=encoded)
        yield NewReminder(reminder_id, payload, timedelta())


class RemoteSide(Protocol):
    """One process's view of a remote queue."""

    async def open(self, cloud: str, *, callers: int, count: int) -> None:
        """`cloud`: its address; `count`: so many tasks will be added, or swept."""
        ...

    async def add(self, first: int, count: int) -> None:
        """Tasks of these numbers, in one transaction where there are any; returns when its caller may go on."""
        ...

    async def settle(self) -> None:
        """Returns when the remote queue has everything and nothing of it is left here."""
        ...

    async def sweep(self) -> None: ...


class Reminders:
    """Ours."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._open = AsyncExitStack()
        self._db: Database
        self._remote: CloudTasksQueue
        self._queue: Dispatcher

    async def open(self, cloud: str, *, callers: int, count: int) -> None:
        del count
        settings = DatabaseSettings(self._url, pool_size=max(callers, 8))
        self._db = await self._open.enter_async_context(open_database(settings))
        self._remote = await self._open.enter_async_context(open_cloud_tasks_queue(cloud_settings(cloud), self._db))
        self._queue = await self._open.enter_async_context(
            open_dispatcher(self._db, classes=[REMOTE], backend=Backend.CLOUD_TASKS, remote=self._remote)
        )
        # The pool connects when it has to; what is compared should begin with open connections on both sides.
        await asyncio.gather(*(self._db.execute("select pg_sleep(0.05)") for _ in range(callers)))

    async def add(self, first: int, count: int) -> None:
        async with self._db.transaction() as tx:
            await self._queue.add_many(REMOTE, [Int64Value(value=first + n) for n in range(count)], tx=tx)

    async def settle(self) -> None:
        while await self._db.fetchval(_LEFT):  # noqa: ASYNC110 - only the table knows
            await asyncio.sleep(0.002)

    async def sweep(self) -> None:
        await InProcessSweeper(self._db, self._remote.submissions, SystemClock()).sweep()


class BareCalls:
    """The official client with requests made beforehand, as many at once as the happy path has."""

    def __init__(self, _: str) -> None:
        self._open = AsyncExitStack()
        self._client: tasks_v2.CloudTasksAsyncClient
        self._requests: list[tasks_v2.CreateTaskRequest]

    async def open(self, cloud: str, *, callers: int, count: int) -> None:
        del callers
        self._client = await self._open.enter_async_context(open_cloud_client(cloud_settings(cloud)))
        self._requests = [tasks_v2.CreateTaskRequest(request) for _, request in make_requests(count)]

    async def add(self, first: int, count: int) -> None:
        for request in self._requests[first : first + count]:
            await self._client.create_task(request, timeout=20.0, retry=None)

    async def settle(self) -> None:
        """It waited for each answer."""

    async def sweep(self) -> None:
        requests = iter(self._requests)

        async def call() -> None:
            for request in requests:
                await self._client.create_task(request, timeout=20.0, retry=None)

        await asyncio.gather(*(call() for _ in range(CALLS_AT_ONCE)))


REMOTE_SIDES: dict[str, Callable[[str], RemoteSide]] = {"ours": Reminders, "raw": BareCalls}
