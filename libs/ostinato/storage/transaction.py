"""One database transaction: statements, the database's clock, and hooks around the commit.

`tx` is the first argument of everything that touches the database; there is no ambient transaction.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Protocol, TypeAlias, TypeVar

import asyncpg
import asyncpg.pool

from ostinato.storage.translate import translated_errors

T = TypeVar("T")
Row = asyncpg.Record
# What a pool lends is a proxy of a connection, with the same methods.
Connection: TypeAlias = "asyncpg.Connection[Row] | asyncpg.pool.PoolConnectionProxy[Row]"
BeforeCommit = Callable[["Tx"], Awaitable[None]]
AfterCommit = Callable[[], None]
AtEnd = Callable[[], None]


class Gate(Protocol):
    """Sees every step that reaches the database. Simulations order them and crash between any two."""

    async def before(self, step: str, connection: Connection | None) -> None:
        """`step` is the statement, or CONNECT, BEGIN, COMMIT, ROLLBACK. May raise: then the step does not happen."""
        ...

    def after(self, step: str) -> None:
        """The server answered, or the step failed. May raise: then the caller never hears the answer."""
        ...


class Tx:
    """An open transaction. Not for concurrent use: one statement at a time."""

    def __init__(self, connection: Connection, gate: Gate | None = None) -> None:
        self._connection = connection
        self._gate = gate
        self._now: datetime | None = None
        self._before_commit: dict[object, BeforeCommit] = {}
        self._after_commit: list[AfterCommit] = []
        self._at_end: list[AtEnd] = []
        # It is over, and its commit may have happened although the hooks for after the commit did not run.
        self.in_doubt = False
        # What libraries collect until the commit, each under a key of its own.
        self.buffers: dict[object, list[Any]] = {}
        # On a connection of somebody else's, whose savepoints pass by unseen: only hints may wait for the commit.
        self.foreign = False
        self._savepoints = 0

    async def execute(self, sql: str, *arguments: object) -> str:
        """The command tag, such as `UPDATE 3`."""
        return await self._run(sql, lambda: self._connection.execute(sql, *arguments))

    async def fetch(self, sql: str, *arguments: object) -> list[Row]:
        return await self._run(sql, lambda: self._connection.fetch(sql, *arguments))

    async def fetchrow(self, sql: str, *arguments: object) -> Row | None:
        return await self._run(sql, lambda: self._connection.fetchrow(sql, *arguments))

    async def fetchval(self, sql: str, *arguments: object) -> Any:
        return await self._run(sql, lambda: self._connection.fetchval(sql, *arguments))

    async def now(self) -> datetime:
        """The database's time, read at the first call and then kept. Call it after taking locks, never before."""
        if self._now is None:
            self._now = await self.fetchval("select ostinato_now()")
        return self._now

    def learn_now(self, at: datetime) -> None:
        """A statement after the locks brought the database's time along: `now` need not ask for it."""
        self._now = self._now or at

    def before_commit(self, key: object, hook: BeforeCommit) -> None:
        """Runs `hook` directly before COMMIT, once per key; a failure rolls back."""
        self._before_commit.setdefault(key, hook)

    def after_commit(self, hook: AfterCommit) -> None:
        """Runs `hook` after a commit that is known to have happened. It must not block and gets no transaction."""
        self._after_commit.append(hook)

    def at_end(self, hook: AtEnd) -> None:
        """Runs `hook` when the transaction is over, however it ended, and after the hooks for the commit.

        It must not block. Not on a connection of somebody else's, whose transactions end unseen.
        """
        self._at_end.append(hook)

    async def read_one_snapshot(self) -> None:
        """All that it reads is of one moment, and it writes nothing. The first thing that is asked of it."""
        await self.execute("set transaction isolation level repeatable read, read only")

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        """A part that may fail alone: if the block raises, all that it did, buffered and hooked is undone."""
        self._savepoints += 1
        name = f"part_{self._savepoints}"
        before_commit, after_commit = dict(self._before_commit), len(self._after_commit)
        buffered = {key: len(entries) for key, entries in self.buffers.items()}
        await self.execute(f"savepoint {name}")
        try:
            yield
        except BaseException:
            self._before_commit = before_commit
            del self._after_commit[after_commit:]
            self.buffers = {key: self.buffers[key][:length] for key, length in buffered.items()}
            await self.execute(f"rollback to savepoint {name}")
            raise
        await self.execute(f"release savepoint {name}")

    async def run_before_commit(self) -> None:
        while self._before_commit:
            hooks, self._before_commit = self._before_commit, {}
            for hook in hooks.values():
                await hook(self)

    def take_after_commit(self) -> Sequence[AfterCommit]:
        hooks, self._after_commit = self._after_commit, []
        return hooks

    def take_at_end(self) -> Sequence[AtEnd]:
        hooks, self._at_end = self._at_end, []
        return hooks

    async def _run(self, sql: str, statement: Callable[[], Awaitable[T]]) -> T:
        if self._gate is not None:
            return await gated(self._gate, sql, self._connection, statement)
        with translated_errors():
            return await statement()


async def gated(gate: Gate, step: str, connection: Connection | None, statement: Callable[[], Awaitable[T]]) -> T:
    """Runs `statement` between the gate's two sides. Once it is sent, a cancelled caller still awaits its answer."""
    await gate.before(step, connection)
    try:
        with translated_errors():
            return await _answered(statement())
    finally:
        gate.after(step)


async def _answered(statement: Awaitable[T]) -> T:
    sent = asyncio.ensure_future(statement)
    try:
        return await asyncio.shield(sent)
    except asyncio.CancelledError:
        await asyncio.wait([sent])
        if not sent.cancelled():
            sent.exception()  # seen; the cancellation is what the caller asked for
        raise


def adopt(connection: asyncpg.Connection[Row]) -> Tx:
    """Speaks to a transaction that the caller began and will end on a connection of its own: hooks never run."""
    tx = Tx(connection)
    tx.foreign = True
    return tx


def affected(tag: str) -> int:
    """Rows that a command tag such as `UPDATE 3` tells of."""
    return int(tag.rsplit(" ", 1)[-1])
