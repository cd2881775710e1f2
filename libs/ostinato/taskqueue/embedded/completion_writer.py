"""Writes how tasks ended, in groups: whatever came while the previous write was under way goes with the next.

The writes are idempotent by their fence, so they are repeated for as long as the database is away. A write that
finds fewer rows than it has fences tells of tasks that somebody else owns by now; their ends are rejected.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from ostinato.clock import Clock
from ostinato.errors import Contention, OstinatoError, Transient
from ostinato.storage.database import Database
from ostinato.taskqueue.embedded import ready_store
from ostinato.taskqueue.embedded.ready_store import DeadRow, Fence, RetryRow
from ostinato.taskqueue.embedded.worker_stats import WorkerStats

_log = logging.getLogger(__name__)
_MOST = 2000
W = TypeVar("W")


class CompletionWriter:
    """For one incarnation: the worker id is part of every fence."""

    def __init__(
        self,
        db: Database,
        worker_id: int,
        clock: Clock,
        stats: WorkerStats,
        forget: Callable[[int], object],
    ) -> None:
        self._db = db
        self._worker_id = worker_id
        self._clock = clock
        self._stats = stats
        self._forget = forget
        self.on_retried: Callable[[], None] | None = None  # a retry was written: it may be due soon
        self._done: list[Fence] = []
        self._done_named: list[Fence] = []
        self._retries: list[RetryRow] = []
        self._dead: list[DeadRow] = []
        self._releases: list[Fence] = []
        self._wanted = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def done(self, fence: Fence) -> None:
        self._done.append(fence)
        self._wanted.set()

    def done_named(self, fence: Fence) -> None:
        """The task has a name, which ends with it."""
        self._done_named.append(fence)
        self._wanted.set()

    def retry(self, row: RetryRow) -> None:
        self._retries.append(row)
        self._wanted.set()

    def bury(self, row: DeadRow) -> None:
        self._dead.append(row)
        self._wanted.set()

    def release(self, fence: Fence) -> None:
        self._releases.append(fence)
        self._wanted.set()

    async def run(self) -> None:
        """Writes until cancelled."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            self._idle.clear()
            await self._write_all()
            self._idle.set()

    async def flush(self, *, while_: Callable[[], bool]) -> None:
        """Returns when everything handed over so far is written, or when `while_` says that it is too late for that."""
        while (self._wanted.is_set() or not self._idle.is_set()) and while_():
            await self._clock.sleep(0.001)

    async def _write_all(self) -> None:
        while self._done or self._done_named or self._retries or self._dead or self._releases:
            self._done = await self._write(self._done, ready_store.complete, lambda fence: fence[1])
            self._done_named = await self._write(self._done_named, ready_store.complete_named, lambda fence: fence[1])
            if self._retries:
                self._retries = await self._write(self._retries, ready_store.retry, lambda row: row.fence[1])
                if self.on_retried is not None:
                    self.on_retried()
            self._dead = await self._write(self._dead, ready_store.bury, lambda row: row.fence[1])
            self._releases = await self._write(self._releases, ready_store.release, lambda fence: fence[1])

    async def _write(
        self,
        rows: list[W],
        statement: Callable[[Database, int, list[W]], Awaitable[int]],
        id_of: Callable[[W], int],
    ) -> list[W]:
        """Writes up to a group of `rows`; returns the list that keeps the others and takes new ones."""
        if not rows:
            return rows
        group, rest = rows[:_MOST], rows[_MOST:]
        rows[:] = []  # newcomers append to this list while we wait
        if rejected := await self._persist(group, statement):
            self._stats.rejected += rejected
            _log.warning("%d of %d tasks ended here but are no longer this process's", rejected, len(group))
        for row in group:
            self._forget(id_of(row))
        return rest + rows

    async def _persist(self, group: list[W], statement: Callable[[Database, int, list[W]], Awaitable[int]]) -> int:
        """Returns how many are known to be no longer ours. What is missing after a lost answer was perhaps written."""
        pause, answered = 0.05, True
        while True:
            try:
                missing = len(group) - await self._send(group, statement)
            except Transient as error:
                _log.warning("task ends are not written yet, trying again: %s", error)
                answered = answered and isinstance(error, Contention)
            except OstinatoError:
                if len(group) == 1:
                    _log.exception("the end of one task can't be written; it runs again when its lease ends")
                    return 0
                return sum([await self._persist([row], statement) for row in group])
            else:
                return missing if answered else 0
            await self._clock.sleep(pause)
            pause = min(1.0, pause * 2)

    async def _send(self, group: list[W], statement: Callable[[Database, int, list[W]], Awaitable[int]]) -> int:
        """Not interrupted by a cancellation, which is that of the whole writer."""
        sent = asyncio.ensure_future(statement(self._db, self._worker_id, group))
        try:
            return await asyncio.shield(sent)
        except asyncio.CancelledError:
            sent.add_done_callback(_looked_at)
            raise


def _looked_at(sent: asyncio.Future[int]) -> None:
    if not sent.cancelled() and (error := sent.exception()) is not None:
        _log.info("the last task ends were perhaps not written, these tasks run again: %s", error)
