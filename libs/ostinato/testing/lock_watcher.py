"""Asks a server, beside a simulation, what its connections wait for. Blocks the caller, in real time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Collection, Coroutine
from typing import Any, TypeAlias, TypeVar

import asyncpg

T = TypeVar("T")
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

_BLOCKED = "select cardinality(pg_blocking_pids($1)) > 0"
_LEFT = "select count(*) from pg_stat_activity where pid = any($1::int[])"
# Whoever waits for a lock does not notice that his client is gone, and the lock's holder may not move before he has.
_END_BLOCKED = """
select count(pg_terminate_backend(pid))
  from unnest($1::int[]) pid
 where cardinality(pg_blocking_pids(pid)) > 0
"""


class LockWatcher:
    """Has a thread, an event loop and a connection of its own, from the first question until `close`."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._connection: Connection | None = None

    def is_blocked(self, pid: int) -> bool:
        """Whether a connection waits for a lock that another one holds."""
        return bool(self._run(self._fetch(_BLOCKED, pid)))

    def wait_until_gone(self, pids: Collection[int]) -> None:
        """Until the server has noticed that these connections ended, and has rolled their transactions back."""
        self._run(self._wait_until_gone(list(pids)))

    def end_blocked(self, pids: Collection[int]) -> None:
        """Ends those of the connections that wait for locks, before the end of another one gives them theirs."""
        self._run(self._end_blocked(list(pids)))

    def ask(self, question: Callable[[Connection], Awaitable[T]]) -> T:
        """What `question` finds out on a connection that takes no part in the simulation."""
        return self._run(self._answer(question))

    def close(self) -> None:
        if self._loop is None or self._thread is None:
            return
        if self._connection is not None:
            self._run(self._connection.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
            self._thread.start()
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=30)

    async def _answer(self, question: Callable[[Connection], Awaitable[T]]) -> T:
        if self._connection is None:
            self._connection = await asyncpg.connect(self._url)
        return await question(self._connection)

    async def _fetch(self, sql: str, *arguments: object) -> Any:
        return await self._answer(lambda connection: connection.fetchval(sql, *arguments))

    async def _end_blocked(self, pids: list[int]) -> None:
        async with asyncio.timeout(20):
            while await self._fetch(_END_BLOCKED, pids):  # noqa: ASYNC110 - as below
                await asyncio.sleep(0.002)

    async def _wait_until_gone(self, pids: list[int]) -> None:
        async with asyncio.timeout(20):
            while await self._fetch(_LEFT, pids):  # noqa: ASYNC110 - another server's process has no event to set
                await asyncio.sleep(0.002)
