"""Makes range partitions ahead of time.

The tables have no default partition, so a missing one is an error, not a swamp.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg

from ostinato.storage.translate import translated_errors

WEEK = timedelta(days=7)
_EPOCH = datetime(2015, 1, 5, tzinfo=UTC)  # a Monday


@dataclass(frozen=True, slots=True)
class PartitionedTable:
    """A table partitioned by week. `bounds` gives the SQL literals FROM (inclusive) and TO for a week [start, end)."""

    name: str
    bounds: Callable[[datetime, datetime], tuple[str, str]]


def by_time(start: datetime, end: datetime) -> tuple[str, str]:
    return f"'{start.isoformat()}'", f"'{end.isoformat()}'"


def week_of(at: datetime) -> datetime:
    """Start of the week (Monday 00:00 UTC) that `at` lies in."""
    return _EPOCH + (at - _EPOCH) // WEEK * WEEK


async def ensure_partitions(
    connection: asyncpg.Connection[Any],
    tables: Iterable[PartitionedTable],
    *,
    around: datetime,
    behind: int = 1,
    ahead: int = 8,
) -> list[str]:
    """Creates the weeks from `behind` before to `ahead` after `around` where missing; returns the new names.

    A new partition is built aside and attached, which does not lock out readers or writers of the table.
    """
    created = []
    first = week_of(around) - behind * WEEK
    with translated_errors():
        for table in tables:
            for index in range(behind + ahead + 1):
                start = first + index * WEEK
                if await _ensure(connection, table, start):
                    created.append(f"{table.name}_{start:%Y%m%d}")
    return created


async def weeks_ahead(connection: asyncpg.Connection[Any], table: PartitionedTable, *, around: datetime) -> int:
    """How many whole weeks after the current one have a partition, without a gap. Alarm below 2."""
    count = 0
    while await _exists(connection, f"{table.name}_{week_of(around) + (count + 1) * WEEK:%Y%m%d}"):
        count += 1
    return count


async def _ensure(connection: asyncpg.Connection[Any], table: PartitionedTable, start: datetime) -> bool:
    name = f"{table.name}_{start:%Y%m%d}"
    if await _exists(connection, name):
        return False
    low, high = table.bounds(start, start + WEEK)
    async with connection.transaction():
        await connection.execute("set local lock_timeout = '4s'")
        await connection.execute("lock table ostinato_migration in share row exclusive mode")
        if await _exists(connection, name):
            return False
        await connection.execute(f"create table {name} (like {table.name} including all)")
        # No grants: a partition is read and written through its parent, whose rights are the ones checked.
        await connection.execute(
            f"alter table {table.name} attach partition {name} for values from ({low}) to ({high})"
        )
    return True


async def _exists(connection: asyncpg.Connection[Any], name: str) -> bool:
    return bool(await connection.fetchval("select to_regclass($1) is not null", name))
