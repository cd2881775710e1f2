"""The whole schema of the scheduler: every line of migrations, the partitions, the runtime role's rights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from ostinato.config.database import DatabaseSettings
from ostinato.jobstore.schema import PARTITIONED_TABLES, SCHEDULER_LINE
from ostinato.storage.database import connect
from ostinato.storage.migrate import STORAGE_LINE, Migration, grant_runtime_role, migrate, missing_migrations
from ostinato.storage.partitions import ensure_partitions
from ostinato.taskqueue.schema import TASKQUEUE_LINE

ALL_LINES = (STORAGE_LINE, TASKQUEUE_LINE, SCHEDULER_LINE)
# A migration may rewrite a large table; what it may not do is wait for locks.
_PATIENCE = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class SchemaChange:
    """What was missing and is there now."""

    migrations: Sequence[Migration]
    partitions: Sequence[str]


async def install_schema(settings: DatabaseSettings, *, now: datetime, runtime_role: str = "") -> SchemaChange:
    """Brings the database up to this build; changes nothing when it is current. May be repeated.

    Raises FailedPrecondition when an applied migration differs from this build's, Contention when a table is busy.
    """
    connection = await connect(replace(settings, statement_timeout=_PATIENCE))
    try:
        migrations = await migrate(connection, ALL_LINES)
        partitions = await ensure_partitions(connection, PARTITIONED_TABLES, around=now)
        if runtime_role:
            await grant_runtime_role(connection, runtime_role)
    finally:
        await connection.close()
    return SchemaChange(migrations, partitions)


async def missing_from_schema(settings: DatabaseSettings) -> list[Migration]:
    """Migrations of this build that have not been applied. Changes nothing."""
    connection = await connect(settings)
    try:
        return await missing_migrations(connection, ALL_LINES)
    finally:
        await connection.close()
