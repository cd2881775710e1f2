"""Our queue as a user runs it: typed payloads, leases and fences, retries, counters, wake-ups."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime

from google.protobuf.wrappers_pb2 import Int64Value

from benchmarks.tables import BUSINESS
from ostinato.storage.database import Database, DatabaseSettings, open_database
from ostinato.taskqueue import (
    Dispatcher,
    Handler,
    TaskClass,
    TaskContext,
    TaskKind,
    Worker,
    WorkerSettings,
    open_dispatcher,
)

NUMBERED = TaskClass("numbered", Int64Value, kind=TaskKind.FOLLOWS_CONTEXT, queue="benchmark", max_running=1000)


class Ours:
    """Connections stay open until the process ends."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._open = AsyncExitStack()
        self._db: Database
        self._queue: Dispatcher
        self._worker: Worker | None = None

    async def open(self, callers: int) -> None:
        settings = DatabaseSettings(self._url, pool_size=max(callers, 4))
        self._db = await self._open.enter_async_context(open_database(settings))
        self._queue = await self._open.enter_async_context(open_dispatcher(self._db, classes=[NUMBERED]))
        # The pool connects when it has to; the other side is connected before it is measured, too.
        await asyncio.gather(*(self._db.execute("select pg_sleep(0.05)") for _ in range(callers)))

    async def add(self, number: int) -> None:
        await self._queue.add(NUMBERED, Int64Value(value=number))

    async def add_announced(self, number: int) -> None:
        await self.add(number)

    async def add_many(self, numbers: Sequence[int], due_at: float | None) -> None:
        eta = None if due_at is None else datetime.fromtimestamp(due_at, UTC)
        await self._queue.add_many(NUMBERED, [Int64Value(value=number) for number in numbers], eta=eta)

    async def transact(self, number: int, *, with_add: bool) -> None:
        async with self._db.transaction() as tx:
            await tx.execute(BUSINESS, "somebody", number)
            if with_add:
                await self._queue.add(NUMBERED, Int64Value(value=number), tx=tx)

    async def work(self, handle: Callable[[int], Awaitable[None]], *, listen: bool) -> None:
        async def run(_: TaskContext, payload: Int64Value) -> None:
            await handle(payload.value)

        settings = WorkerSettings(drain_grace=0.5, listen=listen)
        self._worker = Worker(self._db, self._queue, [Handler.single(NUMBERED, run)], settings=settings)
        await self._worker.run()

    def stop_work(self) -> None:
        if self._worker is not None:
            self._worker.drain()
