"""One queue, two backends: what a test of the contract may use of either."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

import pytest
from google.protobuf.wrappers_pb2 import Int64Value, StringValue

from ostinato.pb.internal.v1.engine_tasks_pb2 import HandleNotificationTask, LaunchInvocationTask, TriageJobTask
from ostinato.storage.database import Database
from ostinato.taskqueue import (
    DeadLetter,
    Dispatcher,
    Handler,
    QueuePicker,
    Retry,
    TaskClass,
    TaskKind,
    WorkerSettings,
    list_dead_letters,
    open_dispatcher,
    pause_queue,
    purge_queue,
    resume_queue,
)
from tests.integration.taskqueue.conftest import running
from tests.integration.taskqueue.contract.local_cloud import (
    LocalCloud,
    open_local_cloud,
    open_remote_dispatcher,
    receiving,
)

QUICK = Retry(max_attempts=3, min_backoff=timedelta(milliseconds=20), max_backoff=timedelta(milliseconds=50))
LETTER = TaskClass("letter", TriageJobTask, TaskKind.FOLLOWS_CONTEXT, "mail", QUICK)
PARCEL = TaskClass("parcel", LaunchInvocationTask, TaskKind.FOLLOWS_CONTEXT, "parcels", QUICK, max_running=1)
STAMP: TaskClass[Any] = TaskClass(
    "stamp",
    HandleNotificationTask,
    TaskKind.FOLLOWS_CONTEXT,
    retry=QUICK,
    queue_picker=QueuePicker(("red", "blue"), lambda stamp: "red" if stamp.invocation_id % 2 else "blue"),
    deadline=timedelta(milliseconds=300),
)
ONLY_INSIDE = TaskClass("only-inside", Int64Value, TaskKind.TRANSACTIONAL, "mail")
ONLY_OUTSIDE = TaskClass("only-outside", StringValue, TaskKind.NON_TRANSACTIONAL, "mail")
CLASSES = (LETTER, PARCEL, STAMP, ONLY_INSIDE, ONLY_OUTSIDE)


def letter(number: int) -> TriageJobTask:
    return TriageJobTask(job_id=number)


class Queue(Protocol):
    """`run`: handlers at work during the block, as many times as a test likes."""

    db: Database
    dispatcher: Dispatcher

    def run(self, *handlers: Handler, grace: float = 2) -> AbstractAsyncContextManager[Any]: ...

    async def pause(self, queue: str) -> None: ...

    async def resume(self, queue: str) -> None: ...

    async def purge(self, queue: str) -> None: ...

    async def dead(self) -> list[DeadLetter]: ...


@dataclass
class EmbeddedQueue:
    db: Database
    dispatcher: Dispatcher

    def run(self, *handlers: Handler, grace: float = 2) -> AbstractAsyncContextManager[Any]:
        return running(self.db, self.dispatcher, *handlers, settings=WorkerSettings(drain_grace=grace))

    async def pause(self, queue: str) -> None:
        await pause_queue(self.db, queue)

    async def resume(self, queue: str) -> None:
        await resume_queue(self.db, queue)

    async def purge(self, queue: str) -> None:
        await purge_queue(self.db, queue)

    async def dead(self) -> list[DeadLetter]:
        return await list_dead_letters(self.db)


@dataclass
class RemoteQueue:
    db: Database
    dispatcher: Dispatcher
    cloud: LocalCloud

    def run(self, *handlers: Handler, grace: float = 2) -> AbstractAsyncContextManager[Any]:
        return receiving(self.cloud, self.dispatcher, *handlers, grace=grace)

    async def pause(self, queue: str) -> None:
        async with self.cloud.client as client:
            await client.pause_queue(name=self.cloud.queue_path(queue))

    async def resume(self, queue: str) -> None:
        async with self.cloud.client as client:
            await client.resume_queue(name=self.cloud.queue_path(queue))

    async def purge(self, queue: str) -> None:
        async with self.cloud.client as client:
            await client.purge_queue(name=self.cloud.queue_path(queue))

    async def dead(self) -> list[DeadLetter]:
        return await list_dead_letters(self.db)


@asynccontextmanager
async def _embedded(db: Database) -> AsyncIterator[Queue]:
    async with open_dispatcher(db, classes=CLASSES) as dispatcher:
        yield EmbeddedQueue(db, dispatcher)


@asynccontextmanager
async def _remote(db: Database) -> AsyncIterator[Queue]:
    async with open_local_cloud() as cloud, open_remote_dispatcher(cloud, db, CLASSES) as (dispatcher, _):
        yield RemoteQueue(db, dispatcher, cloud)


@pytest.fixture(params=["embedded", "cloud_tasks"])
async def queue(request: pytest.FixtureRequest, database: Database) -> AsyncIterator[Queue]:
    async with (_embedded if request.param == "embedded" else _remote)(database) as opened:
        yield opened
