"""What people do to queues while they work: pause, resume, purge, and give dead letters another chance, or none.

Each change of a queue is one small commit that every process hears of within 1.5 s, at once where it listens; nothing
of a paused queue starts later than 2 s after its pause, not even in a process that stood still meanwhile.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Collection, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Protocol

from ostinato.errors import NotFound, OstinatoError
from ostinato.storage.database import Database
from ostinato.taskqueue.embedded import dead_letter_store, queue_settings_store, worker_store
from ostinato.taskqueue.embedded.fair_share import BEGINNING
from ostinato.taskqueue.embedded.queue_store import QueueStats, notify, queue_stats
from ostinato.taskqueue.embedded.ready_store import Executor, find_strands
from ostinato.taskqueue.embedded.strand import strands_of
from ostinato.taskqueue.queue_settings import QueueSettings
from ostinato.taskqueue.reminders.parked_store import purge_some_parked
from ostinato.taskqueue.wake_up import CHANNEL, QUEUES_CHANGED

_log = logging.getLogger(__name__)
_BATCH = 10_000
_DEAD_BATCH = 1000


async def pause_queue(db: Database, name: str) -> QueueStats:
    """Starts nothing more of it; what runs, runs on. May be repeated. Raises NotFound."""
    await queue_settings_store.pause(db, name)
    return await _told(db, name)


async def resume_queue(db: Database, name: str) -> QueueStats:
    """Raises NotFound."""
    await queue_settings_store.resume(db, name)
    return await _told(db, name)


async def purge_queue(db: Database, name: str) -> int:
    """Deletes what was added before now and is not claimed; returns how many. Raises NotFound.

    What is claimed but has not started is dropped by whoever claimed it. Cut short, the purge holds all the same: the
    rest is dropped when it is claimed or due.
    """
    marked = await queue_settings_store.mark_purged(db, name)
    if marked is None:
        raise NotFound(f"there is no queue {name!r}")
    await _tell(db)
    queue_id, before = marked
    purged = await _in_batches(partial(queue_settings_store.purge_later, db, queue_id, before))
    for strand in await find_strands(db, [strands_of(queue_id)]):
        purged += await _in_batches(partial(queue_settings_store.purge_ready, db, strand, before))
    return purged


async def purge_old_dead_letters(db: Database, *, queue: str | None = None, older_than: timedelta | None = None) -> int:
    """Deletes those of one queue, and those of a certain age, if these are given; returns how many. In batches."""
    purged = 0
    for purge_some in (dead_letter_store.purge_some_dead_letters, purge_some_parked):
        count = _DEAD_BATCH
        while count == _DEAD_BATCH:
            count = await purge_some(db, queue=queue, older_than=older_than, limit=_DEAD_BATCH)
            purged += count
    return purged


class _PurgeBatch(Protocol):
    def __call__(self, *, since: datetime, most: int) -> Awaitable[tuple[int, datetime | None]]: ...


async def _in_batches(purge: _PurgeBatch) -> int:
    purged, since = 0, BEGINNING
    while True:
        count, last = await purge(since=since, most=_BATCH)
        if last is None:
            return purged
        purged += count
        since = last


async def store_queue_settings(db: Database, queues: Sequence[QueueSettings]) -> None:
    """Limits of existing queues, for all processes; what is stored already changes nothing."""
    if not queues:
        return
    changed = await db.transact(lambda tx: queue_settings_store.store_limits(tx, queues))
    if changed:
        _log.info("limits were stored of %s", ", ".join(changed))
        await _tell(db)


async def _told(db: Database, name: str) -> QueueStats:
    await _tell(db)
    for stats in await queue_stats(db):
        if stats.name == name:
            return stats
    raise NotFound(f"there is no queue {name!r}")


async def _tell(db: Database) -> None:
    """Sooner than the next heartbeat of each process."""
    try:
        await notify(db, CHANNEL, QUEUES_CHANGED)
    except OstinatoError as error:
        _log.warning("processes were not told that a queue changed, their heartbeats will: %s", error)


async def paused_queues(executor: Executor, names: Collection[str]) -> dict[str, datetime]:
    """Those of `names` that are paused, and since when."""
    return await queue_settings_store.find_paused(executor, names)


async def count_live_workers(executor: Executor) -> int:
    """Processes that run tasks of the database and whose lease holds."""
    return await worker_store.count_live(executor)
