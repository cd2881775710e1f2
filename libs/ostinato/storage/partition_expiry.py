"""Drops weekly partitions that are older than what is kept.

A partition is detached concurrently first, so readers and writers of its table are not locked out. A detach that
was interrupted is finished by the next call.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import asyncpg

from ostinato.storage.partitions import WEEK, PartitionedTable
from ostinato.storage.translate import translated_errors

_NAME = re.compile(r"(?P<table>\w+)_(?P<week>\d{8})")
# Another process drops the same partition: it was faster, is in the middle of it, or the two waited for each other.
_TAKEN = (
    asyncpg.UndefinedTableError,
    asyncpg.ObjectNotInPrerequisiteStateError,
    asyncpg.DeadlockDetectedError,
    asyncpg.LockNotAvailableError,
)
_PARTITIONS = """
select c.relname::text as name, i.inhdetachpending as detaching
  from pg_inherits i
  join pg_class c on c.oid = i.inhrelid
 where i.inhparent = to_regclass($1)
 order by 1
"""


@dataclass(frozen=True, slots=True)
class Partition:
    """The rows of [start, end) of one table. `detaching`: a detach began and did not end."""

    table: PartitionedTable
    name: str
    start: datetime
    detaching: bool

    @property
    def end(self) -> datetime:
        return self.start + WEEK


# Whether rows of the partition are still needed; asked directly before it goes.
IsNeeded = Callable[[Partition], Awaitable[bool]]


async def drop_expired_partitions(
    connection: asyncpg.Connection[Any], table: PartitionedTable, *, before: datetime, is_needed: IsNeeded
) -> list[str]:
    """Drops what ended before `before` and is not needed; returns the names. Not inside a transaction.

    Several processes may do it at once.
    """
    dropped = []
    with translated_errors():
        await connection.execute("set lock_timeout = '4s'")
        for partition in await _partitions(connection, table):
            expired = partition.end <= before and not await is_needed(partition)
            if expired and await _drop(connection, partition):
                dropped.append(partition.name)
    return dropped


async def _partitions(connection: asyncpg.Connection[Any], table: PartitionedTable) -> list[Partition]:
    found = []
    for row in await connection.fetch(_PARTITIONS, table.name):
        if (name := _NAME.fullmatch(row["name"])) and name["table"] == table.name:
            start = datetime.strptime(name["week"], "%Y%m%d").replace(tzinfo=UTC)
            found.append(Partition(table, row["name"], start, row["detaching"]))
    return found


async def _drop(connection: asyncpg.Connection[Any], partition: Partition) -> bool:
    """False if another process has done it meanwhile, or is doing it; what is left half done, the next call ends."""
    how = "finalize" if partition.detaching else "concurrently"
    try:
        await connection.execute(f"alter table {partition.table.name} detach partition {partition.name} {how}")
        await connection.execute(f"drop table {partition.name}")
    except _TAKEN:
        return False
    return True
