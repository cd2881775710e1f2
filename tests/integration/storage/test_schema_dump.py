"""The schema as reviewed text."""

from __future__ import annotations

from pathlib import Path

import asyncpg
import pytest

from ostinato.storage.database import Database, connect
from ostinato.storage.schema_dump import dump_schema

COMMITTED = Path(__file__).resolve().parents[3] / "docs" / "schema.txt"


async def dump(database: Database) -> str:
    connection = await connect(database.settings)
    try:
        return await dump_schema(connection)
    finally:
        await connection.close()


async def test_the_committed_schema_is_what_the_migrations_make(database: Database) -> None:
    assert await dump(database) == COMMITTED.read_text(encoding="utf-8"), "run `make schema` and review the difference"


async def test_partitions_are_not_part_of_it(database: Database) -> None:
    assert await database.fetchval("select count(*) from pg_inherits") > 0
    assert "triage_log_20" not in await dump(database)


@pytest.mark.parametrize(
    "change",
    [
        "create table extra (id int)",
        "alter table job add column extra int",
        "alter table job alter column name drop not null",
        "alter table job alter column realm set default 'x'",
        "alter table job set (fillfactor = 50)",
        "alter table tq_later set (toast.autovacuum_vacuum_threshold = 1)",
        "create index extra on job (realm)",
        "alter table job add constraint extra check (version > 0)",
        "create or replace function ostinato_now() returns timestamptz language sql volatile return now()",
        "alter function ostinato_now() set jit = off",
        "create sequence extra",
        "drop index job_cron_due",
    ],
)
async def test_every_kind_of_change_shows(database_url: str, change: str) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        before = await dump_schema(connection)
        await connection.execute(change)
        assert await dump_schema(connection) != before
    finally:
        await connection.close()
