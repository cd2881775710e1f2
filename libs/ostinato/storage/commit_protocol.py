"""BEGIN, COMMIT and ROLLBACK on one connection, and what is known when one of them is not answered.

A commit whose answer is lost may or may not have happened: CommitOutcomeUnknown. A rollback needs no answer: a
connection that is dropped has rolled back.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import asyncpg
import asyncpg.transaction

from ostinato.errors import CommitOutcomeUnknown, Contention, OstinatoError, Unavailable
from ostinato.storage.transaction import Connection, Gate, gated
from ostinato.storage.translate import connection_lost, translated_errors

_log = logging.getLogger(__name__)

# Seconds that giving a connection back may wait for a server that is perhaps out of reach.
ANSWER_PATIENCE = 2.0
# One message, so it costs no round trip. Local settings, so it works behind a pgbouncer.
_BEGIN_KEEPING_PLANS = "BEGIN; SET LOCAL plan_cache_mode = force_generic_plan; SET LOCAL enable_seqscan = off"


def is_lost(connection: Connection) -> bool:
    """True once the connection ended: a pool takes it back at that moment, and then even asking is refused."""
    try:
        return connection.is_closed()
    except asyncpg.InterfaceError:
        return True


async def begin(connection: Connection, gate: Gate | None, *, keeps_plans: bool = False) -> None:
    """With `keeps_plans`, statements are planned once per connection, for index reads alone."""
    try:
        await _step("BEGIN", connection, gate, _BEGIN_KEEPING_PLANS if keeps_plans else "BEGIN")
    except (asyncio.CancelledError, Unavailable):
        # The server may begin all the same, and tell of it when the connection is somebody else's.
        if gate is None and not is_lost(connection):
            connection.terminate()
        raise


async def commit(connection: Connection, gate: Gate | None) -> None:
    await _answered(_send_commit(connection, gate))


async def commit_lent(transaction: asyncpg.transaction.Transaction) -> None:
    """Commits a transaction on a connection that somebody else owns."""
    await _answered(_send_lent_commit(transaction))


async def roll_back(connection: Connection, gate: Gate | None) -> None:
    """Leaves no transaction open: if the server does not confirm it, the connection is dropped."""
    if is_lost(connection):
        return
    confirmed = False
    try:
        async with asyncio.timeout(None if gate else ANSWER_PATIENCE):
            await _step("ROLLBACK", connection, gate)
        confirmed = True
    except (OstinatoError, TimeoutError) as error:
        _log.debug("the rollback was not confirmed: %s", error)  # the error that led here is the one to tell
    finally:
        if not confirmed and not is_lost(connection):
            connection.terminate()


async def roll_back_lent(transaction: asyncpg.transaction.Transaction) -> None:
    """Rolls back on a connection that somebody else owns, who will notice by himself if it is lost."""
    try:
        with translated_errors():
            await transaction.rollback()
    except OstinatoError as error:
        _log.debug("the rollback was not confirmed: %s", error)


async def _step(step: str, connection: Connection, gate: Gate | None, sql: str = "") -> None:
    if gate is not None:
        await gated(gate, step, connection, lambda: connection.execute(sql or step))
        return
    with translated_errors():
        await connection.execute(sql or step)


async def _answered(commit_sent: Coroutine[Any, Any, None]) -> None:
    """Shielded: the answer to a COMMIT that was sent is awaited even by a cancelled caller, who is then told."""
    sent = asyncio.ensure_future(commit_sent)
    try:
        await asyncio.shield(sent)
    except asyncio.CancelledError:
        await asyncio.wait([sent])
        if not sent.cancelled() and (error := sent.exception()) is not None:
            _log.warning("the commit of a cancelled caller failed: %s", error)
        raise


async def _send_commit(connection: Connection, gate: Gate | None) -> None:
    if gate is not None:
        await gate.before("COMMIT", connection)
    try:
        with _commit_errors():
            tag = await connection.execute("COMMIT")
    finally:
        if gate is not None:
            gate.after("COMMIT")
    if tag != "COMMIT":
        # The server answers ROLLBACK when a statement of the transaction had failed and nobody said so.
        raise Contention(f"the server answered COMMIT with {tag}")


async def _send_lent_commit(transaction: asyncpg.transaction.Transaction) -> None:
    with _commit_errors():
        await transaction.commit()


@contextmanager
def _commit_errors() -> Iterator[None]:
    with translated_errors():
        try:
            yield
        except Exception as error:
            if connection_lost(error):
                raise unanswered(error) from error
            raise


def unanswered(error: BaseException) -> CommitOutcomeUnknown:
    """What `error` means for a commit that was sent."""
    return CommitOutcomeUnknown(f"the commit was not answered: {str(error) or type(error).__name__}")
