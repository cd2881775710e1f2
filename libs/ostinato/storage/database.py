"""The connection pool: transactions, single statements, and side connections.

Nothing here relies on session state (no SET, LISTEN, advisory locks or temporary tables on pooled
connections), so a pgbouncer in transaction mode may stand between; then prepared statements are off.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, TypeAlias, TypeVar

import asyncpg
import asyncpg.pool

from ostinato.config.database import DatabaseSettings
from ostinato.errors import CommitOutcomeUnknown, Contention
from ostinato.storage.commit_protocol import (
    ANSWER_PATIENCE,
    begin,
    commit,
    commit_lent,
    is_lost,
    roll_back,
    roll_back_lent,
    unanswered,
)
from ostinato.storage.connecting import connect_options, dial
from ostinato.storage.transaction import Connection, Gate, Row, Tx, gated
from ostinato.storage.translate import connection_lost, refuses_writes, translated_errors

_log = logging.getLogger(__name__)
T = TypeVar("T")
_NEVER = 1 << 62  # a busy process would reconnect every minute, and whoever comes then would wait for it
FEW_ROWS = 8  # up to here a kept plan costs less than a new one
PooledConnection: TypeAlias = "asyncpg.pool.PoolConnectionProxy[Row]"


class Database:
    """A pool of connections. Build it with `open_database`."""

    def __init__(self, settings: DatabaseSettings, pool: asyncpg.Pool[Row], gate: Gate | None) -> None:
        self.settings = settings
        self._pool = pool
        self._gate = gate
        self._releasing: set[asyncio.Task[None]] = set()  # keeps them alive

    @asynccontextmanager
    async def transaction(self, *, few_rows: bool = False) -> AsyncIterator[Tx]:
        """Commits at the end of the block; rolls back if the block raises.

        `few_rows`: each statement touches a handful. Planning it anew would cost more than running it, so plans are
        kept, and they are right for a handful whatever the sizes of the tables. Raises CommitOutcomeUnknown when the
        commit's answer was lost; hooks for after the commit don't run then.
        """
        connection = await self._acquire()
        tx = Tx(connection, self._gate)
        try:
            await begin(connection, self._gate, keeps_plans=few_rows)
            try:
                yield tx
                await tx.run_before_commit()
            except BaseException:
                await roll_back(connection, self._gate)
                raise
            await commit(connection, self._gate)
        except BaseException as error:
            tx.in_doubt = isinstance(error, CommitOutcomeUnknown | asyncio.CancelledError)
            run_hooks(tx.take_at_end())
            await self._release_in_doubt(connection, error)
            raise
        try:
            await self._release(connection)
        finally:  # also of a caller who is cancelled at this moment: it has committed
            run_hooks([*tx.take_after_commit(), *tx.take_at_end()])

    async def transact(self, work: Callable[[Tx], Awaitable[T]], *, attempts: int = 5, few_rows: bool = False) -> T:
        """Runs `work` in a transaction, again from the start when it lost a race (deadlock, lock timeout)."""
        for attempt in range(1, attempts + 1):
            try:
                async with self.transaction(few_rows=few_rows) as tx:
                    return await work(tx)
            except Contention:
                if attempt == attempts:
                    raise
                await asyncio.sleep(0.005 * attempt)
        raise AssertionError("unreachable")

    async def execute(self, sql: str, *arguments: object) -> str:
        """One statement in a transaction of its own, as the fetches are.

        Raises CommitOutcomeUnknown when it was sent and its answer was lost.
        """
        return await self._write(sql, lambda connection: connection.execute(sql, *arguments))

    async def fetch_written(self, sql: str, *arguments: object) -> list[Row]:
        """What a statement that writes returns; raises CommitOutcomeUnknown as `execute` does."""
        return await self._write(sql, lambda connection: connection.fetch(sql, *arguments))

    async def _write(self, sql: str, run: Callable[[Connection], Awaitable[T]]) -> T:
        async def told(connection: Connection) -> T:
            try:
                return await run(connection)
            except Exception as error:
                if connection_lost(error) and not isinstance(error, asyncpg.QueryCanceledError):
                    raise unanswered(error) from error
                raise

        return await self._single(sql, told)

    async def fetch(self, sql: str, *arguments: object) -> list[Row]:
        return await self._single(sql, lambda connection: connection.fetch(sql, *arguments))

    async def fetchrow(self, sql: str, *arguments: object) -> Row | None:
        return await self._single(sql, lambda connection: connection.fetchrow(sql, *arguments))

    async def fetchval(self, sql: str, *arguments: object) -> Any:
        return await self._single(sql, lambda connection: connection.fetchval(sql, *arguments))

    @asynccontextmanager
    async def side_connection(self) -> AsyncIterator[asyncpg.Connection[Row]]:
        """A connection of its own outside the pool, to the direct address: for LISTEN. Errors in it are translated."""
        async with lone_connection(self.settings, url=self.settings.listen_url) as connection:
            yield connection

    async def _single(self, sql: str, run: Callable[[Connection], Awaitable[T]]) -> T:
        connection = await self._acquire()
        try:
            if self._gate is not None:
                result = await gated(self._gate, sql, connection, lambda: run(connection))
            else:
                with translated_errors():
                    result = await run(connection)
        except BaseException as error:
            await self._release_in_doubt(connection, error)
            raise
        await self._release(connection)
        return result

    async def _acquire(self) -> PooledConnection:
        with translated_errors():
            return await self._pool.acquire()

    async def _release_in_doubt(self, connection: PooledConnection, error: BaseException) -> None:
        """On a task of its own: it goes on when the caller is cancelled once more."""
        if refuses_writes(error) and not is_lost(connection):
            connection.terminate()
        releasing = asyncio.ensure_future(self._release(connection))
        self._releasing.add(releasing)
        releasing.add_done_callback(self._releasing.discard)
        await asyncio.shield(releasing)

    async def _release(self, connection: PooledConnection) -> None:
        if not is_lost(connection) and connection.is_in_transaction():
            connection.terminate()
        # The pool waits for the server to confirm that a cancelled statement has ended; one that is out of reach
        # would hold up the drain of a process and the pool of one that goes on. Then the connection is dropped.
        # One that ends at this very moment is in the pool's hands already, which it tells by an error.
        with suppress(TimeoutError, asyncpg.InternalClientError, asyncpg.InterfaceError):
            await self._pool.release(connection, timeout=ANSWER_PATIENCE)  # shielded from cancellations by the pool


# What a single statement can run on: reads that need no transaction take either.
Reader = Database | Tx


@asynccontextmanager
async def transaction_on(connection: Connection) -> AsyncIterator[Tx]:
    """A transaction with hooks on a connection that the caller owns. The block's own errors are left as they are."""
    tx = Tx(connection)
    tx.foreign = True
    transaction = connection.transaction()
    with translated_errors():
        await transaction.start()
    try:
        yield tx
        await tx.run_before_commit()
    except BaseException:
        await roll_back_lent(transaction)
        raise
    await commit_lent(transaction)
    run_hooks(tx.take_after_commit())


@asynccontextmanager
async def open_database(settings: DatabaseSettings, *, gate: Gate | None = None) -> AsyncIterator[Database]:
    """A pool that is closed at the end of the block. Raises Unavailable when nobody answers."""
    with translated_errors():
        pool = await asyncpg.create_pool(
            settings.url,
            min_size=0,  # the driver would look after a minimum by itself, and log a traceback per lost connection
            init_size=0 if gate else 1,
            max_size=settings.pool_size,
            max_inactive_connection_lifetime=0,
            max_queries=_NEVER,
            reset=_no_reset,
            connect=partial(_dial_in_turn, gate) if gate else dial,
            **connect_options(settings),
        )
    try:
        yield Database(settings, pool, gate)
    finally:
        if gate is None:
            await _close(pool)
        else:
            pool.terminate()  # closing politely takes round trips that no gate sees


async def connect(settings: DatabaseSettings, *, url: str = "") -> asyncpg.Connection[Row]:
    """One connection outside any pool; the caller closes it."""
    with translated_errors():
        return await dial(url or settings.url, **connect_options(settings))


@asynccontextmanager
async def lone_connection(settings: DatabaseSettings, *, url: str = "") -> AsyncIterator[asyncpg.Connection[Row]]:
    """`connect` for the length of a block, whose errors are translated.

    It ends by hanging up: a polite goodbye would wait for an answer that a lost server never gives.
    """
    connection = await connect(settings, url=url)
    try:
        with translated_errors():
            yield connection
    finally:
        connection.terminate()


async def _dial_in_turn(gate: Gate, *args: Any, **kwargs: Any) -> asyncpg.Connection[Row]:
    return await gated(gate, "CONNECT", None, lambda: dial(*args, **kwargs))


async def _no_reset(_: asyncpg.Connection[Row]) -> None:
    """Pooled connections carry no session state, so the reset's round trip buys nothing."""


async def _close(pool: asyncpg.Pool[Row]) -> None:
    try:
        async with asyncio.timeout(5):
            await pool.close()
    except TimeoutError:
        pool.terminate()


def run_hooks(hooks: Iterable[Callable[[], None]]) -> None:
    """The transaction is over: an error in a hook must not look like a failed one."""
    for hook in hooks:
        try:
            hook()
        except Exception:  # noqa: BLE001 - logged, and the other hooks still run
            _log.exception("a hook after a transaction failed")


__all__ = [
    "FEW_ROWS",
    "Database",
    "DatabaseSettings",
    "Reader",
    "connect",
    "lone_connection",
    "open_database",
    "transaction_on",
]
