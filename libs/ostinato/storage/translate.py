"""The one place that turns asyncpg's errors into ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from ostinato.errors import Contention, InternalError, Unavailable

_CONTENTION = (
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.LockNotAvailableError,
    # A migration changed a table since this connection prepared the statement; the next attempt prepares it anew.
    asyncpg.InvalidCachedStatementError,
    asyncpg.OutdatedSchemaCacheError,
)
_UNAVAILABLE = (
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
    asyncpg.QueryCanceledError,  # statement_timeout
    asyncpg.ReadOnlySQLTransactionError,  # a standby, or a primary on its way down
    asyncpg.DiskFullError,
    asyncpg.OutOfMemoryError,
    asyncpg.IdleInTransactionSessionTimeoutError,  # some administrators set it; the connection is gone
    # The driver loses its place when the server says goodbye between two statements; such a connection is lost.
    asyncpg.InternalClientError,
    ConnectionError,
    TimeoutError,
    OSError,
)


class DatabaseError(InternalError):
    """A statement that can't be right: a bug of ours, or a schema that doesn't fit this build."""

    reason = "DATABASE_ERROR"


def connection_lost(error: BaseException) -> bool:
    """True if nobody knows whether the server carried out what was sent last."""
    if isinstance(error, asyncpg.QueryCanceledError):
        return True
    if isinstance(error, asyncpg.InterfaceError):
        return "closed" in str(error)
    return isinstance(
        error,
        asyncpg.PostgresConnectionError
        | asyncpg.InternalClientError
        | asyncpg.AdminShutdownError
        | asyncpg.CrashShutdownError
        | OSError
        | TimeoutError,
    )


@contextmanager
def translated_errors() -> Iterator[None]:
    """Raises Unavailable, Contention or DatabaseError instead of the driver's errors."""
    try:
        yield
    except _CONTENTION as error:
        raise Contention(str(error)) from error
    except _UNAVAILABLE as error:
        raise Unavailable(f"database: {str(error) or type(error).__name__}") from error
    except asyncpg.InterfaceError as error:
        # The driver says "connection is closed" and the like by this class; everything else is misuse.
        if "clos" in str(error) or "released" in str(error):
            raise Unavailable(f"database: {error}") from error
        raise DatabaseError(str(error)) from error
    except asyncpg.PostgresError as error:
        raise DatabaseError(f"{type(error).__name__}: {error}") from error
