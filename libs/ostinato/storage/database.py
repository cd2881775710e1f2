"""The connection pool: transactions, single statements, and side connections.

Nothing here relies on session state (no SET, LISTEN, advisory locks or temporary tables on pooled
connections), so a pgbouncer in transaction mode may stand between; then prepared statements are off.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

import asyncpg

from ostinato.config.database import DatabaseSettings
from ostinato.errors import CommitOutcomeUnknown, Contention
from ostinato.storage.translate import connection_lost, translated_errors
from ostinato.storage.transaction import Gate, Row, Tx, gated

_log = logging.getLogger(__name__)
T = TypeVar("T")


class Database:
    """A pool of connections. Build it with `open_database`."""

    def __init__(self, settings: DatabaseSettings, pool: asyncpg.Pool[Row], gate: Gate | None) -> None:
        self.settings = settings
        self._pool = pool
        self._gate = gate

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Tx]:
        """Commits at the end of the block; rolls back if the block raises.

        Raises CommitOutcomeUnknown when the commit's answer was lost; hooks for after the commit don't run then.
        """
        with translated_errors():
            connection = await self._pool.acquire()
        try:
            tx = Tx(connection, self._gate)
            await self._step("BEGIN", connection)
            try:
                yield tx
                await tx.run_before_commit()
            except BaseException:
                await self._roll_back(connection)
                raise
            await self._commit(connection)
        finally:
            await self._release(connection)
        for hook in tx.take_after_commit():
            _guarded(hook)

    async def transact(self, work: Callable[[Tx], Awaitable[T]], *, attempts: int = 5) -> T:
        """Runs `work` in a transaction, again from the start when it lost a race (deadlock, lock timeout)."""
        for attempt in range(1, attempts + 1):
            try:
                async with self.transaction() as tx:
                    return await work(tx)
            except Contention:
                if attempt == attempts:
                    raise
                await asyncio.sleep(0.005 * attempt)
        raise AssertionError("unreachable")

    async def execute(self, sql: str, *arguments: object) -> str:
        """One statement in a transaction of its own."""
        return await self._single(sql, "execute", arguments)

    async def fetch(self, sql: str, *arguments: object) -> list[Row]:
        return await self._single(sql, "fetch", arguments)

    async def fetchrow(self, sql: str, *arguments: object) -> Row | None:
        return await self._single(sql, "fetchrow", arguments)

    async def fetchval(self, sql: str, *arguments: object) -> Any:
        return await self._single(sql, "fetchval", arguments)

    @asynccontextmanager
    async def side_connection(self) -> AsyncIterator[asyncpg.Connection[Row]]:
        """A connection of its own outside the pool, to the direct address: for LISTEN."""
        connection = await connect(self.settings, url=self.settings.listen_url or self.settings.url)
        try:
            yield connection
        finally:
            connection.terminate()

    async def _single(self, sql: str, method: str, arguments: tuple[object, ...]) -> Any:
        with translated_errors():
            connection = await self._pool.acquire()
        try:
            statement = getattr(connection, method)(sql, *arguments)
            if self._gate is not None:
                return await gated(self._gate, sql, connection, statement)
            with translated_errors():
                return await statement
        finally:
            await self._release(connection)

    async def _step(self, step: str, connection: asyncpg.Connection[Row]) -> None:
        if self._gate is not None:
            await gated(self._gate, step, connection, connection.execute(step))
            return
        with translated_errors():
            await connection.execute(step)

    async def _commit(self, connection: asyncpg.Connection[Row]) -> None:
        # Shielded: a cancelled COMMIT may or may not have happened, so the answer is awaited and then told.
        commit = asyncio.ensure_future(self._send_commit(connection))
        try:
            await asyncio.shield(commit)
        except asyncio.CancelledError:
            if not commit.done():
                await asyncio.wait([commit])
            if not commit.cancelled():
                commit.exception()  # mark as seen; the cancellation is what the caller asked for
            raise

    async def _send_commit(self, connection: asyncpg.Connection[Row]) -> None:
        try:
            if self._gate is not None:
                await self._gate.before("COMMIT", connection)
            try:
                tag = await connection.execute("COMMIT")
            finally:
                if self._gate is not None:
                    self._gate.after("COMMIT")
        except Exception as error:
            if connection_lost(error):
                raise CommitOutcomeUnknown(f"the commit was not answered: {error}") from error
            with translated_errors():
                raise
        if tag != "COMMIT":
            # The server answers ROLLBACK when a statement of the transaction had failed and nobody said so.
            raise Contention(f"the server answered COMMIT with {tag}")

    async def _roll_back(self, connection: asyncpg.Connection[Row]) -> None:
        if connection.is_closed():
            return
        rollback = asyncio.ensure_future(self._step("ROLLBACK", connection))
        try:
            await asyncio.shield(rollback)
        except BaseException as error:  # noqa: BLE001 - the block's own error is the one to tell
            if not rollback.done():
                await asyncio.wait([rollback])
            _log.debug("rollback failed, the connection is dropped: %s", error)
            connection.terminate()

    async def _release(self, connection: asyncpg.Connection[Row]) -> None:
        if connection.is_in_transaction():
            connection.terminate()
        await asyncio.shield(self._pool.release(connection))


# What a single statement can run on: reads that need no transaction take either.
Reader = Database | Tx


@asynccontextmanager
async def transaction_on(connection: asyncpg.Connection[Row]) -> AsyncIterator[Tx]:
    """A transaction with hooks on a connection that the caller owns."""
    tx = Tx(connection)
    with translated_errors():
        async with connection.transaction():
            yield tx
            await tx.run_before_commit()
    for hook in tx.take_after_commit():
        _guarded(hook)


@asynccontextmanager
async def open_database(settings: DatabaseSettings, *, gate: Gate | None = None) -> AsyncIterator[Database]:
    """A pool that is closed at the end of the block. Raises Unavailable when nobody answers."""
    with translated_errors():
        pool = await asyncpg.create_pool(
            settings.url,
            min_size=0 if gate else 1,
            max_size=settings.pool_size,
            max_inactive_connection_lifetime=0,
            reset=_no_reset,
            **_connect_options(settings),
        )
    try:
        yield Database(settings, pool, gate)
    finally:
        await _close(pool)


async def connect(settings: DatabaseSettings, *, url: str = "") -> asyncpg.Connection[Row]:
    """One connection outside any pool; the caller closes it."""
    with translated_errors():
        return await asyncpg.connect(url or settings.url, **_connect_options(settings))


def _connect_options(settings: DatabaseSettings) -> dict[str, Any]:
    options: dict[str, Any] = {"timeout": 10, "server_settings": {"application_name": settings.application_name}}
    if settings.prepared_statements:
        options["server_settings"]["statement_timeout"] = str(int(settings.statement_timeout.total_seconds() * 1000))
        options["server_settings"]["jit"] = "off"
    else:
        options["statement_cache_size"] = 0  # pgbouncer refuses unknown start-up parameters as well
        options["server_settings"] = {}
    return options


async def _no_reset(_: asyncpg.Connection[Row]) -> None:
    """Pooled connections carry no session state, so the reset's round trip buys nothing."""


async def _close(pool: asyncpg.Pool[Row]) -> None:
    try:
        async with asyncio.timeout(5):
            await pool.close()
    except TimeoutError:
        pool.terminate()


@contextmanager
def _swallowed(what: str) -> Iterator[None]:
    try:
        yield
    except Exception:
        _log.exception("%s failed", what)


def _guarded(hook: Callable[[], None]) -> None:
    # The commit happened: an error in a hook must not look like a failed transaction.
    with _swallowed("a hook after the commit"):
        hook()


__all__ = ["Database", "DatabaseSettings", "Reader", "connect", "open_database", "transaction_on"]
