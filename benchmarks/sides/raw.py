"""The reference: the least that a durable at-least-once queue can do on PostgreSQL, written by hand.

It claims 500 by an UPDATE over SKIP LOCKED that sets a lease column, runs them, and deletes them by an array of ids;
two such loops overlap. No types, no retries, no fences, no counters, no pool.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TypeAlias

import asyncpg

from benchmarks.tables import BUSINESS

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

_CHANNEL = "raw_task"
_BATCH = 500
_LOOPS = 2
_ADD = "insert into raw_task (payload) values ($1)"
_ADD_ANNOUNCED = f"with added as ({_ADD} returning id) select pg_notify('{_CHANNEL}', '') from added"
_ADD_MANY = "insert into raw_task (run_at, payload) select $1, unnest($2::bytea[])"
_CLAIM = """
with due as (
    select id from raw_task where {condition} order by {order} limit $1 for update skip locked
)
update raw_task t set lease_until = now() + interval '30 s', attempts = attempts + 1
  from due where t.id = due.id returning t.id, t.payload
"""
_CLAIM_DUE = _CLAIM.format(condition="lease_until is null and run_at <= now()", order="run_at, id")
_CLAIM_EXPIRED = _CLAIM.format(condition="lease_until < now()", order="lease_until")
_COMPLETE = "delete from raw_task where id = any($1::bigint[])"
_NEXT_DUE = """
select extract(epoch from run_at - clock_timestamp())::float8 from raw_task
 where lease_until is null order by run_at, id limit 1
"""


class Raw:
    """A payload is the number in decimal."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._free: asyncio.LifoQueue[Connection] = asyncio.LifoQueue()
        self._woken = asyncio.Event()
        self._stopping = False

    async def open(self, callers: int) -> None:
        for _ in range(callers):
            self._free.put_nowait(await asyncpg.connect(self._url))

    async def add(self, number: int) -> None:
        await self._execute(_ADD, b"%d" % number)

    async def add_announced(self, number: int) -> None:
        await self._execute(_ADD_ANNOUNCED, b"%d" % number)

    async def add_many(self, numbers: Sequence[int], due_at: float | None) -> None:
        at = datetime.now(UTC) if due_at is None else datetime.fromtimestamp(due_at, UTC)
        await self._execute(_ADD_MANY, at, [b"%d" % number for number in numbers])

    async def transact(self, number: int, *, with_add: bool) -> None:
        async with self._connection() as connection, connection.transaction():
            await connection.execute(BUSINESS, "somebody", number)
            if with_add:
                await connection.execute(_ADD, b"%d" % number)

    async def work(self, handle: Callable[[int], Awaitable[None]], *, listen: bool) -> None:
        async with self._connection() as listening:
            if listen:
                await listening.add_listener(_CHANNEL, lambda *_: self._woken.set())
            await asyncio.gather(*(self._loop(handle) for _ in range(_LOOPS)))

    def stop_work(self) -> None:
        self._stopping = True
        self._woken.set()

    async def _loop(self, handle: Callable[[int], Awaitable[None]]) -> None:
        async with self._connection() as connection:
            while not self._stopping:
                self._woken.clear()
                rows = await connection.fetch(_CLAIM_DUE, _BATCH) or await connection.fetch(_CLAIM_EXPIRED, _BATCH)
                for row in rows:
                    await handle(int(row[1]))
                if rows:
                    await connection.execute(_COMPLETE, [row[0] for row in rows])
                else:
                    await self._wait(await connection.fetchval(_NEXT_DUE))

    async def _wait(self, next_due: float | None) -> None:
        if self._stopping:
            return
        try:
            async with asyncio.timeout(min(1.0, max(0.0005, 1.0 if next_due is None else next_due))):
                await self._woken.wait()
        except TimeoutError:
            return

    async def _execute(self, sql: str, *arguments: object) -> None:
        connection = await self._free.get()
        try:
            await connection.execute(sql, *arguments)
        finally:
            self._free.put_nowait(connection)

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        connection = await self._free.get()
        try:
            yield connection
        finally:
            self._free.put_nowait(connection)
