"""Weekly partitions: made ahead, without gaps or overlaps, and never twice."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from ostinato.jobstore.schema import PARTITIONED_TABLES
from ostinato.scheduling.invocation_id import make_invocation_id
from ostinato.storage.partitions import WEEK, PartitionedTable, by_time, ensure_partitions, week_of, weeks_ahead

NOON = datetime(2031, 5, 14, 12, tzinfo=UTC)  # a Wednesday
TRIAGE_LOG = next(table for table in PARTITIONED_TABLES if table.name == "triage_log")


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    opened = await asyncpg.connect(database_url)
    yield opened
    await opened.close()


async def log_at(connection: asyncpg.Connection, at: datetime) -> None:
    await connection.execute("insert into triage_log (job_id, at, record) values (1, $1, '{}')", at)


@pytest.mark.parametrize(
    ("at", "monday"),
    [
        (NOON, datetime(2031, 5, 12, tzinfo=UTC)),
        (datetime(2031, 5, 12, tzinfo=UTC), datetime(2031, 5, 12, tzinfo=UTC)),
        (datetime(2031, 5, 11, 23, 59, 59, 999999, UTC), datetime(2031, 5, 5, tzinfo=UTC)),
        (datetime(2014, 12, 31, tzinfo=UTC), datetime(2014, 12, 29, tzinfo=UTC)),
    ],
)
def test_a_week_begins_on_monday_in_utc(at: datetime, monday: datetime) -> None:
    assert week_of(at) == monday


async def test_every_instant_from_a_week_before_to_weeks_ahead_has_its_place(connection: asyncpg.Connection) -> None:
    await ensure_partitions(connection, [TRIAGE_LOG], around=NOON, behind=1, ahead=2)
    first = week_of(NOON) - WEEK
    for at in (
        first,
        week_of(NOON) - timedelta(microseconds=1),
        week_of(NOON),
        NOON,
        first + 4 * WEEK - timedelta(microseconds=1),
    ):
        await log_at(connection, at)
    for outside in (first - timedelta(microseconds=1), first + 4 * WEEK):
        with pytest.raises(asyncpg.CheckViolationError):
            await log_at(connection, outside)


async def test_ids_made_in_a_week_belong_to_its_partition(connection: asyncpg.Connection) -> None:
    tables = [table for table in PARTITIONED_TABLES if table.name == "invocation_log"]
    await ensure_partitions(connection, tables, around=NOON, behind=0, ahead=0)
    monday = week_of(NOON)
    for at in (monday, NOON, monday + WEEK - timedelta(milliseconds=1)):
        for bits in (0, 0xFFFF):
            invocation_id = make_invocation_id(at, bits)
            where = await connection.fetchval(
                "insert into invocation_log values ($1, 1, 1, $2, '') returning tableoid::regclass::text",
                invocation_id,
                at,
            )
            assert where == "invocation_log_20310512"


async def test_making_them_again_makes_nothing(connection: asyncpg.Connection) -> None:
    made = await ensure_partitions(connection, PARTITIONED_TABLES, around=NOON)
    assert len(made) == len(PARTITIONED_TABLES) * 10
    assert await ensure_partitions(connection, PARTITIONED_TABLES, around=NOON) == []
    assert len(await ensure_partitions(connection, PARTITIONED_TABLES, around=NOON + WEEK)) == len(PARTITIONED_TABLES)


async def test_partitions_are_made_under_the_feet_of_readers_and_writers(
    connection: asyncpg.Connection, database_url: str
) -> None:
    await ensure_partitions(connection, [TRIAGE_LOG], around=NOON, behind=0, ahead=0)
    writer = await asyncpg.connect(database_url)
    async with writer.transaction():
        await log_at(writer, NOON)
        await connection.execute("set statement_timeout = '3s'")
        assert await ensure_partitions(connection, [TRIAGE_LOG], around=NOON, behind=0, ahead=3)
    await writer.close()


async def test_weeks_ahead_end_at_the_first_gap(connection: asyncpg.Connection) -> None:
    assert await weeks_ahead(connection, TRIAGE_LOG, around=NOON) == 0
    await ensure_partitions(connection, [TRIAGE_LOG], around=NOON, ahead=3)
    await ensure_partitions(connection, [TRIAGE_LOG], around=NOON + 8 * WEEK, ahead=0)
    assert await weeks_ahead(connection, TRIAGE_LOG, around=NOON) == 3


async def test_a_partition_has_the_indexes_of_its_table(connection: asyncpg.Connection) -> None:
    await connection.execute("create table reading (at timestamptz not null, value int) partition by range (at)")
    await connection.execute("create index on reading (value)")
    await ensure_partitions(connection, [PartitionedTable("reading", by_time)], around=NOON, behind=0, ahead=0)
    indexes = await connection.fetchval("select count(*) from pg_index where indrelid = 'reading_20310512'::regclass")
    assert indexes == 1
