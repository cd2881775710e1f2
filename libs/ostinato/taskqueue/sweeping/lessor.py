"""Shares out ids among those who sweep at the same time, so that they do not submit the same reminders.

It saves work and is no safety: the names of the tasks see to it that each is added once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from ostinato.clock import Clock
from ostinato.errors import OstinatoError
from ostinato.storage.database import Database
from ostinato.storage.transaction import Tx
from ostinato.taskqueue.sweeping import lease_store
from ostinato.taskqueue.sweeping.partition import Partition
from ostinato.taskqueue.sweeping.sorted_partitions import exclude_all

_log = logging.getLogger(__name__)

Parts = Sequence[Partition]


class Lessor(Protocol):
    def lease(self, section: str, desired: Partition, duration: timedelta) -> AbstractAsyncContextManager[Parts]:
        """What of `desired` nobody else of that section has, for the length of the block: possibly nothing.

        A block that outlasts `duration` is cancelled and ends in TimeoutError. Raises errors of the database before it.
        """
        ...


@dataclass(slots=True)
class LessorStats:
    taken: int = 0
    empty: int = 0  # others had all of it
    expired: int = 0  # the block did not end in time
    failed: int = 0


class DatabaseLessor:
    """Leases as rows; their time is the database's."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self.stats = LessorStats()
        self._db = db
        self._clock = clock

    @asynccontextmanager
    async def lease(self, section: str, desired: Partition, duration: timedelta) -> AsyncIterator[Parts]:
        # From before the request: the row expires later than the block.
        until = self._clock.monotonic() + duration.total_seconds()
        lease_id, parts = await self._take(section, desired, duration)
        try:
            async with asyncio.timeout(max(0.0, until - self._clock.monotonic())):
                yield parts
        except TimeoutError:
            self.stats.expired += 1
            raise
        finally:
            if lease_id is not None:
                await self._give_back(section, lease_id)

    async def _take(self, section: str, desired: Partition, duration: timedelta) -> tuple[int | None, Parts]:
        """Without an id if there is nothing to be had: that is not stored."""
        if not desired.size:
            return None, ()
        try:
            taken = await self._db.transact(lambda tx: _take_available(tx, section, desired, duration))
        except OstinatoError:
            self.stats.failed += 1
            raise
        if taken[0] is None:
            self.stats.empty += 1
        else:
            self.stats.taken += 1
        return taken

    async def _give_back(self, section: str, lease_id: int) -> None:
        try:
            await lease_store.delete_lease(self._db, section, lease_id)
        except OstinatoError as error:
            _log.warning("a lease of section %s was not given back, it will expire: %s", section, error)


async def _take_available(
    tx: Tx, section: str, desired: Partition, duration: timedelta
) -> tuple[int | None, tuple[Partition, ...]]:
    await lease_store.lock_section(tx, section)
    leases = await lease_store.load_leases(tx, section)
    await lease_store.clear_expired(tx, section, leases)
    available = exclude_all([desired], leases.alive)
    if not available:
        return None, ()
    return await lease_store.insert_lease(tx, section, available, duration), available
