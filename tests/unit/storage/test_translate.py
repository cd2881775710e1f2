"""What the driver's errors mean to the rest of the program."""

from __future__ import annotations

import asyncpg
import pytest

from ostinato.errors import Contention, OstinatoError, Unavailable
from ostinato.storage.translate import DatabaseError, connection_lost, translated_errors


@pytest.mark.parametrize(
    ("driver", "ours"),
    [
        (asyncpg.DeadlockDetectedError("x"), Contention),
        (asyncpg.SerializationError("x"), Contention),
        (asyncpg.LockNotAvailableError("x"), Contention),
        (asyncpg.InvalidCachedStatementError("x"), Contention),
        (asyncpg.OutdatedSchemaCacheError("x"), Contention),
        (asyncpg.ConnectionDoesNotExistError("x"), Unavailable),
        (asyncpg.CannotConnectNowError("the database system is starting up"), Unavailable),
        (asyncpg.AdminShutdownError("x"), Unavailable),
        (asyncpg.CrashShutdownError("x"), Unavailable),
        (asyncpg.TooManyConnectionsError("x"), Unavailable),
        (asyncpg.QueryCanceledError("x"), Unavailable),
        (asyncpg.ReadOnlySQLTransactionError("x"), Unavailable),
        (asyncpg.DiskFullError("x"), Unavailable),
        (asyncpg.IdleInTransactionSessionTimeoutError("x"), Unavailable),
        (asyncpg.InternalClientError("cannot switch to state 11"), Unavailable),
        (asyncpg.InterfaceError("connection is closed"), Unavailable),
        (asyncpg.InterfaceError("pool is closing"), Unavailable),
        (asyncpg.InterfaceError("connection has been released back to the pool"), Unavailable),
        (ConnectionRefusedError("x"), Unavailable),
        (TimeoutError(), Unavailable),
        (asyncpg.InterfaceError("another operation is in progress"), DatabaseError),
        (asyncpg.UniqueViolationError("x"), DatabaseError),
        (asyncpg.UndefinedTableError("x"), DatabaseError),
        (asyncpg.InsufficientPrivilegeError("x"), DatabaseError),
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)
def test_an_error_of_the_driver_becomes_one_of_ours(driver: Exception, ours: type[OstinatoError]) -> None:
    with pytest.raises(ours) as caught, translated_errors():
        raise driver
    assert caught.value.__cause__ is driver
    assert str(driver) in str(caught.value)


@pytest.mark.parametrize("error", [ValueError("x"), Contention("x")])
def test_other_errors_pass_unchanged(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, translated_errors():
        raise error
    assert caught.value is error


def test_an_error_without_words_is_told_by_its_name() -> None:
    with pytest.raises(Unavailable, match="TimeoutError"), translated_errors():
        raise TimeoutError


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        (asyncpg.ConnectionDoesNotExistError("x"), True),
        (asyncpg.AdminShutdownError("x"), True),
        (asyncpg.QueryCanceledError("x"), True),
        (asyncpg.InternalClientError("x"), True),
        (asyncpg.InterfaceError("connection is closed"), True),
        (ConnectionResetError(), True),
        (TimeoutError(), True),
        (asyncpg.SerializationError("x"), False),
        (asyncpg.UniqueViolationError("x"), False),
        (asyncpg.InterfaceError("connection has been released back to the pool"), False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_leaves_a_commit_in_doubt(error: Exception, lost: bool) -> None:
    assert connection_lost(error) is lost
