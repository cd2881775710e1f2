"""A queue on a database of the test's own, and ways to watch it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from ostinato.pb.internal.v1.engine_tasks_pb2 import HandleNotificationTask, LaunchInvocationTask, TriageJobTask
from ostinato.storage.database import Database
from ostinato.taskqueue import Dispatcher, Handler, Retry, TaskClass, TaskKind, Worker, WorkerSettings, open_dispatcher

# Any message serves as a payload here; the queue knows nothing of jobs.
LETTER = TaskClass(
    "letter",
    TriageJobTask,
    kind=TaskKind.FOLLOWS_CONTEXT,
    queue="mail",
    retry=Retry(max_attempts=3, min_backoff=timedelta(milliseconds=20), max_backoff=timedelta(milliseconds=50)),
)
PARCEL = TaskClass("parcel", LaunchInvocationTask, kind=TaskKind.TRANSACTIONAL, queue="mail")
STAMP = TaskClass("stamp", HandleNotificationTask, kind=TaskKind.NON_TRANSACTIONAL, queue="stamps")
CLASSES = (LETTER, PARCEL, STAMP)


def letter(number: int) -> TriageJobTask:
    return TriageJobTask(job_id=number)


async def until(condition: Callable[[], object], *, seconds: float = 10) -> None:
    """Waits for something observable; fails after `seconds`."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


@asynccontextmanager
async def running(
    db: Database, dispatcher: Dispatcher, *handlers: Handler, settings: WorkerSettings | None = None
) -> AsyncIterator[Worker]:
    """A worker that is drained at the end of the block."""
    worker = Worker(db, dispatcher, handlers, settings=settings or WorkerSettings(drain_grace=2))
    task = asyncio.ensure_future(worker.run())
    try:
        yield worker
    finally:
        worker.drain()
        await task


@pytest.fixture
async def dispatcher(database: Database) -> AsyncIterator[Dispatcher]:
    async with open_dispatcher(database, classes=CLASSES) as opened:
        yield opened
