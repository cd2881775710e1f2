"""Moves tasks to the ready table when they become due; the first ones come already claimed by this process."""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime, timedelta

from ostinato.clock import Clock
from ostinato.errors import OstinatoError
from ostinato.storage.database import Database
from ostinato.taskqueue.embedded import ready_store
from ostinato.taskqueue.embedded.claim_loop import ClaimLoop
from ostinato.taskqueue.embedded.claimed_tasks import ClaimedTasks
from ostinato.taskqueue.embedded.event_wait import wait_at_most
from ostinato.taskqueue.embedded.fair_share import BEGINNING
from ostinato.taskqueue.embedded.limited_claims import TellOthers
from ostinato.taskqueue.embedded.strand import queue_of

_log = logging.getLogger(__name__)
_MOST_PER_MOVE = 1000
_LATE_INSERTS = timedelta(seconds=60)


class LaterLoop:
    """Looks once a second for the next due time, and sleeps exactly until it when it is nearer."""

    def __init__(
        self, db: Database, tasks: ClaimedTasks, claims: ClaimLoop, clock: Clock, *, tell_others: TellOthers
    ) -> None:
        self._db = db
        self._tasks = tasks
        self._claims = claims
        self._clock = clock
        self._tell_others = tell_others
        self._pace = tasks.lease.pace
        self._wake = asyncio.Event()
        self._everywhere_at = float("-inf")
        tasks.writer.on_retried = self._wake.set

    def hint(self, delay: timedelta) -> None:
        """A task is due after `delay`."""
        if delay.total_seconds() < self._pace.look_later_every:
            self._wake.set()

    def wake(self) -> None:
        self._wake.set()

    async def run(self) -> None:
        """Until draining, or until the lease is lost."""
        while not self._tasks.draining and not self._tasks.lease.lost:
            self._wake.clear()
            try:
                pause = await self._move_what_is_due()
            except OstinatoError as error:
                _log.warning("moving due tasks in failed: %s", error)
                pause = self._pace.look_later_every
            if pause > 0:
                await wait_at_most(self._wake, min(pause, self._pace.look_later_every))

    async def _move_what_is_due(self) -> float:
        """Seconds until it is worth looking again."""
        since = self._since()
        next_due = await ready_store.find_next_due(self._db, since)
        if next_due is None:
            return self._pace.look_later_every
        pause = (next_due - self._tasks.db_now()).total_seconds()
        if pause > 0:
            return pause
        moved = await self._move_in(since)
        if since == BEGINNING and moved >= _MOST_PER_MOVE:
            self._everywhere_at = float("-inf")  # after an outage there may be much more
        # Nothing moved: due by our estimate but not yet by the database's clock, or taken by another process.
        return 0.0 if moved else 0.005

    def _since(self) -> datetime:
        """Nothing is inserted with a due time in the past, so only slow transactions lie far behind."""
        monotonic = self._clock.monotonic()
        if monotonic - self._everywhere_at >= self._pace.rescue_every:
            self._everywhere_at = monotonic
            return BEGINNING
        return self._tasks.db_now() - _LATE_INSERTS

    async def _move_in(self, since: datetime) -> int:
        rooms = {queue: room for queue, room in self._tasks.rooms().items() if room > 0}
        strands = self._claims.may_be_claimed(rooms)
        room = min((rooms[queue_of(strand)] for strand in strands), default=0)
        sent_at = self._clock.monotonic()
        async with self._tasks.claiming:
            rows = await ready_store.move_in(
                self._db,
                self._tasks.lease.worker_id,
                since=since,
                strands=strands,
                room=room if self._tasks.may_start() else 0,
                most=_MOST_PER_MOVE,
            )
            await self._tasks.accept([row for row in rows if row[12] == self._tasks.lease.worker_id], sent_at=sent_at)
        free = frozenset(row[2] for row in rows if row[12] == 0)
        if free and not self._claims.hint(free):
            self._tell_others(free)
        return len(rows)
