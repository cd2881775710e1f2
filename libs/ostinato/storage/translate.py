"""The one place that turns asyncpg's errors into ours."""

from __future__ import annotations

from contextlib import AbstractContextManager

import asyncpg

from ostinato.errors import Contention, InternalError, OstinatoError, Unavailable

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
    asyncpg.IdleInTransactionSessionTimeoutError,  # the connection is gone
    asyncpg.InvalidCatalogNameError,  # the database has not been created yet, or is being restored
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


def refuses_writes(error: BaseException) -> bool:
    """True for an error of ours that a server told which is no primary any more: others may know the new one."""
    return isinstance(error.__cause__, asyncpg.ReadOnlySQLTransactionError)


class _TranslatedErrors:
    """A class, not a generator: it stands around every statement, and costs a quarter this way."""

    __slots__ = ()

    def __enter__(self) -> None:
        return None

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if error is not None and (translation := _translate(error)) is not None:
            raise translation from error


_TRANSLATED_ERRORS = _TranslatedErrors()


def translated_errors() -> AbstractContextManager[None]:
    """Raises Unavailable, Contention or DatabaseError instead of the driver's errors."""
    return _TRANSLATED_ERRORS


def _translate(error: BaseException) -> OstinatoError | None:
    """None for what is not the driver's."""
    if isinstance(error, _CONTENTION):
        return Contention(str(error))
    if isinstance(error, _UNAVAILABLE):
        return Unavailable(f"database: {str(error) or type(error).__name__}")
    if isinstance(error, asyncpg.InterfaceError):
        # The driver says "connection is closed" and the like by this class; everything else is misuse.
        if "clos" in str(error) or "released" in str(error):
            return Unavailable(f"database: {error}")
        return DatabaseError(str(error))
    if isinstance(error, asyncpg.PostgresError):
        return DatabaseError(f"{type(error).__name__}: {error}")
    return None
