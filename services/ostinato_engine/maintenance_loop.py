"""Housekeeping: forgets consumed trigger ids and old dead letters, makes partitions ahead, drops those that expired.

Partitions need the right to create tables, which the runtime role has not, so they are made over a connection of
the maintenance role. Any number of engines run this loop; each step is harmless when another did it already.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from ostinato.clock import Clock
from ostinato.config.database import DatabaseSettings
from ostinato.errors import OstinatoError, Transient
from ostinato.jobstore.expiry_store import database_time, has_active_invocations, purge_consumed_triggers
from ostinato.jobstore.schema import PARTITIONED_TABLES
from ostinato.storage.database import Database, lone_connection
from ostinato.storage.partition_expiry import Partition, drop_expired_partitions
from ostinato.storage.partitions import PartitionedTable, ensure_partitions, weeks_ahead
from ostinato.taskqueue import purge_old_dead_letters
from ostinato_engine.engine_metrics import EngineMetrics

_log = logging.getLogger(__name__)

CONSUMED_IDS_KEPT = timedelta(minutes=30)
HISTORY_KEPT = timedelta(days=90)
DEAD_LETTERS_KEPT = HISTORY_KEPT
WEEKS_AHEAD = 8
ALARM_BELOW = 2
_PURGE_BATCH = 1000
_AFTER_A_FAULT = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class MaintenancePace:
    purge_every: timedelta = timedelta(minutes=1)
    partitions_every: timedelta = timedelta(hours=1)


class MaintenanceLoop:
    """`maintenance`: how to connect as the role that owns the tables."""

    def __init__(
        self,
        db: Database,
        maintenance: DatabaseSettings,
        *,
        clock: Clock,
        metrics: EngineMetrics,
        pace: MaintenancePace | None = None,
        tables: Sequence[PartitionedTable] = PARTITIONED_TABLES,
    ) -> None:
        self._db = db
        self._maintenance = maintenance
        self._clock = clock
        self._metrics = metrics
        self._pace = pace or MaintenancePace()
        self._tables = tables

    async def purge(self) -> None:
        """Runs until cancelled."""
        while True:
            try:
                await self.purge_once()
                await self.purge_dead_letters_once()
            except OstinatoError as error:
                _log.warning("consumed trigger ids, or old dead letters, were not purged: %s", error)
            await self._clock.sleep(self._pace.purge_every.total_seconds())

    async def keep_partitions(self) -> None:
        """Runs until cancelled."""
        while True:
            pause = self._pace.partitions_every
            try:
                await self.keep_partitions_once()
            except Transient as error:
                pause = min(pause, _AFTER_A_FAULT)
                _log.warning("partitions were not kept, again in %s: %s", pause, error)
            except OstinatoError as error:
                _log.error("partitions were not kept, is OSTINATO_MAINTENANCE_DATABASE_URL right? %s", error)
            await self._clock.sleep(pause.total_seconds())

    async def purge_once(self) -> int:
        """In batches, so that no transaction is long."""
        total = 0
        while True:
            purged = await purge_consumed_triggers(self._db, older_than=CONSUMED_IDS_KEPT, limit=_PURGE_BATCH)
            total += purged
            self._metrics.purged_triggers.inc(purged)
            if purged < _PURGE_BATCH:
                return total

    async def purge_dead_letters_once(self) -> None:
        """Each was logged when it died."""
        purged = await purge_old_dead_letters(self._db, older_than=DEAD_LETTERS_KEPT)
        if purged:
            self._metrics.purged_dead_letters.inc(purged)
            _log.warning("%d dead letters were older than %d days: deleted", purged, DEAD_LETTERS_KEPT.days)

    async def keep_partitions_once(self) -> None:
        now = await database_time(self._db)
        try:
            await self._make_ahead(now)
        finally:
            await self._look_ahead(now)
        await self._drop_expired(now)

    async def _make_ahead(self, now: datetime) -> None:
        async with lone_connection(self._maintenance) as connection:
            created = await ensure_partitions(connection, self._tables, around=now, ahead=WEEKS_AHEAD)
        if created:
            _log.info("%d partitions made: %s", len(created), ", ".join(created))

    async def _look_ahead(self, now: datetime) -> None:
        """Over the ordinary connection: the alarm must not depend on the role that failed."""
        async with self._db.side_connection() as connection:
            weeks = min([await weeks_ahead(connection, table, around=now) for table in self._tables])
        self._metrics.partitions_ahead.set(weeks)
        if weeks < ALARM_BELOW:
            _log.critical("only %d weeks have partitions: runs stop when they are used up", weeks)

    async def _drop_expired(self, now: datetime) -> None:
        async with lone_connection(self._maintenance) as connection:
            for table in self._tables:
                dropped = await drop_expired_partitions(
                    connection, table, before=now - HISTORY_KEPT, is_needed=self._is_needed
                )
                if dropped:
                    _log.info("expired partitions dropped: %s", ", ".join(dropped))

    async def _is_needed(self, partition: Partition) -> bool:
        # New invocations get ids of now, so what is not there at this moment will never come.
        return await has_active_invocations(self._db, partition.start, partition.end)
