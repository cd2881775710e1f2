"""Migrations: applied once, in order, never edited afterwards; the runtime role's rights end at data."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest

from ostinato.clock import SystemClock
from ostinato.config import DatabaseSettings
from ostinato.errors import Contention, FailedPrecondition
from ostinato.jobflow.schema import ALL_LINES, install_schema, missing_from_schema
from ostinato.storage.migrate import MigrationLine, grant_runtime_role, migrate, missing_migrations
from ostinato.testing.lock_watcher import LockWatcher
from ostinato.testing.postgres import with_database


@pytest.fixture
async def connection(empty_database_url: str) -> AsyncIterator[asyncpg.Connection]:
    opened = await asyncpg.connect(empty_database_url)
    yield opened
    await opened.close()


@pytest.fixture
def line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MigrationLine]:
    """A line whose files are in `tmp_path/ostinato_test_line/migrations`."""
    package = tmp_path / "ostinato_test_line"
    (package / "migrations").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    write(tmp_path, "0001_first.sql", "create table first (id int);")
    write(tmp_path, "0002_second.sql", "create table second (id int); insert into first values (1);")
    yield MigrationLine("test", "ostinato_test_line")
    sys.modules.pop("ostinato_test_line", None)


def write(tmp_path: Path, name: str, sql: str) -> None:
    (tmp_path / "ostinato_test_line" / "migrations" / name).write_text(sql)


async def test_what_is_missing_is_applied_in_order_and_only_once(
    connection: asyncpg.Connection, line: MigrationLine, tmp_path: Path
) -> None:
    write(tmp_path, "README.md", "not a migration")
    assert [m.version for m in await migrate(connection, [line])] == [1, 2]
    assert await migrate(connection, [line]) == []
    write(tmp_path, "0003_third.sql", "create table third (id int)")
    assert [m.name for m in await missing_migrations(connection, [line])] == ["third"]
    assert [m.name for m in await migrate(connection, [line])] == ["third"]
    assert await connection.fetchval("select count(*) from first") == 1


async def test_a_file_that_changed_after_it_was_applied_is_refused(
    connection: asyncpg.Connection, line: MigrationLine, tmp_path: Path
) -> None:
    await migrate(connection, [line])
    write(tmp_path, "0002_second.sql", "create table second (id bigint)")
    with pytest.raises(FailedPrecondition, match="test/0002_second was applied with other content"):
        await migrate(connection, [line])
    assert [m.name for m in await missing_migrations(connection, [line])] == ["second"]


async def test_a_failing_file_leaves_nothing_of_itself(
    connection: asyncpg.Connection, line: MigrationLine, tmp_path: Path
) -> None:
    write(tmp_path, "0002_second.sql", "create table second (id int); select 1 / 0;")
    with pytest.raises(Exception, match="division by zero"):
        await migrate(connection, [line])
    assert await connection.fetchval("select to_regclass('first') is not null and to_regclass('second') is null")
    write(tmp_path, "0002_second.sql", "create table second (id int)")
    assert [m.name for m in await migrate(connection, [line])] == ["second"]


async def test_a_table_that_is_in_use_is_not_waited_for_long(
    connection: asyncpg.Connection, line: MigrationLine, tmp_path: Path, empty_database_url: str
) -> None:
    await migrate(connection, [line])
    write(tmp_path, "0003_third.sql", "set local lock_timeout = '50ms'; alter table first add column more int")
    reader = await asyncpg.connect(empty_database_url)
    async with reader.transaction():
        await reader.fetch("select * from first")
        with pytest.raises(Contention):
            await migrate(connection, [line])
    await reader.close()
    assert [m.name for m in await migrate(connection, [line])] == ["third"]


async def test_migrations_wait_for_locks_no_longer_than_a_few_seconds(
    connection: asyncpg.Connection, line: MigrationLine, tmp_path: Path
) -> None:
    write(tmp_path, "0001_first.sql", "create table first as select current_setting('lock_timeout') as patience")
    write(tmp_path, "0002_second.sql", "select 1")
    await migrate(connection, [line])
    assert await connection.fetchval("select patience from first") == "4s"


async def test_a_migration_of_another_process_is_waited_for_however_long_it_takes(
    connection: asyncpg.Connection, line: MigrationLine, empty_database_url: str
) -> None:
    """It was given up after four seconds: of two pods that started together, one died of the other's migration."""
    await migrate(connection, [])
    patience: list[str] = []
    connection.add_query_logger(lambda told: patience.append(told.query) if "lock" in told.query else None)
    other = await asyncpg.connect(empty_database_url)
    watcher = LockWatcher(empty_database_url)
    async with other.transaction():
        await other.execute("lock table ostinato_migration in share row exclusive mode")
        migrating = asyncio.create_task(migrate(connection, [line]))
        while not await asyncio.to_thread(watcher.is_blocked, connection.get_server_pid()):
            assert not migrating.done()
    assert [m.name for m in await migrating] == ["first", "second"]
    assert patience[:3] == [
        "set local lock_timeout = 0",
        "lock table ostinato_migration in share row exclusive mode",
        "set local lock_timeout = '4s'",
    ]
    watcher.close()
    await other.close()


async def test_several_at_once_apply_everything_once(empty_database_url: str) -> None:
    settings = DatabaseSettings(empty_database_url)
    changes = await asyncio.gather(*(install_schema(settings, now=SystemClock().now()) for _ in range(4)))
    applied = [migration for change in changes for migration in change.migrations]
    assert len(applied) == sum(len(line.files()) for line in ALL_LINES)
    partitions = [name for change in changes for name in change.partitions]
    assert len(partitions) == len(set(partitions)) > 0


async def test_the_first_ones_of_all_go_one_after_the_other(
    connection: asyncpg.Connection, line: MigrationLine, empty_database_url: str
) -> None:
    """Two that created the table of migrations at once: one died, a few times in a hundred."""
    other = await asyncpg.connect(empty_database_url)
    watcher = LockWatcher(empty_database_url)
    transaction = other.transaction()
    await transaction.start()
    await migrate(other, [line])  # within the transaction, which still holds what keeps others out
    migrating = asyncio.create_task(migrate(connection, [line]))
    while not await asyncio.to_thread(watcher.is_blocked, connection.get_server_pid()):
        assert not migrating.done()
    await transaction.commit()
    assert await migrating == []
    watcher.close()
    await other.close()


async def test_installing_twice_changes_nothing(empty_database_url: str) -> None:
    settings = DatabaseSettings(empty_database_url)
    assert len(await missing_from_schema(settings)) == sum(len(line.files()) for line in ALL_LINES)
    await install_schema(settings, now=SystemClock().now())
    again = await install_schema(settings, now=SystemClock().now())
    assert (again.migrations, again.partitions) == ([], [])
    assert await missing_from_schema(settings) == []


async def test_the_runtime_role_reads_and_writes_data_and_changes_no_structure(database_url: str) -> None:
    owner = await asyncpg.connect(database_url)
    role = f"runtime_{database_url[-8:]}"
    await owner.execute(f"create role \"{role}\" login password 'x'")
    try:
        await grant_runtime_role(owner, role)
        await grant_runtime_role(owner, role)  # may be repeated
        await owner.execute(f'set role "{role}"')
        await owner.execute("insert into project (name, created_at, updated_at) values ('p', now(), now())")
        await owner.execute("insert into triage_log (job_id, at, record) values (1, now(), '{}')")  # a partition
        assert await owner.fetchval("select nextval('tq_task_id')") is not None
        for refused in (
            "create table mine (id int)",
            "alter table job add column mine int",
            "drop table job",
            "truncate job",
            "create or replace function ostinato_now() returns timestamptz language sql as 'select now()'",
            "delete from ostinato_migration",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await owner.execute(refused)
    finally:
        await owner.execute("reset role")
        await owner.execute(f'drop owned by "{role}"')
        await owner.execute(f'drop role "{role}"')
        await owner.close()


def test_the_database_of_a_url_is_exchanged_and_nothing_else() -> None:
    assert (
        with_database("postgresql://u:p@h:1/old?sslmode=disable", "new") == "postgresql://u:p@h:1/new?sslmode=disable"
    )
