"""Claims due tasks while there is room for them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Sequence
from datetime import datetime

from ostinato.clock import Clock
from ostinato.errors import OstinatoError
from ostinato.storage.database import Database
from ostinato.storage.transaction import Row
from ostinato.taskqueue.embedded import ready_store
from ostinato.taskqueue.embedded.claim_cursor import ClaimCursors
from ostinato.taskqueue.embedded.claimed_tasks import ClaimedTasks
from ostinato.taskqueue.embedded.event_wait import wait_at_most
from ostinato.taskqueue.embedded.poll_interval import next_interval
from ostinato.taskqueue.embedded.strand import REDELIVERY, queue_of, strand_of

_log = logging.getLogger(__name__)
_MOST_PER_CLAIM = 1000


class ClaimLoop:
    """Woken by hints, by free room, and by its own clock."""

    def __init__(self, db: Database, tasks: ClaimedTasks, clock: Clock) -> None:
        self.listening = False
        self._db = db
        self._tasks = tasks
        self._clock = clock
        self._pace = tasks.lease.pace
        self._wake = asyncio.Event()
        self._starved = False
        self._full: frozenset[int] = frozenset()  # queues without room at the last look
        self._pause = self._pace.busy_poll
        self._work_seen_at = float("-inf")
        # What a dead process left comes first.
        self.strands = [strand_of(queue, subqueue=REDELIVERY) for queue in tasks.queue_ids]
        self.strands += [strand_of(queue) for queue in tasks.queue_ids]
        self._cursors = ClaimCursors(self.strands, rescue_every=self._pace.rescue_every)
        tasks.on_room = self._room_became_free

    def hint(self, strands: frozenset[int] | None) -> bool:
        """Something is due in `strands` (None: anywhere). True if this process has room for it."""
        if strands is not None and strands.isdisjoint(self.strands):
            return False
        self._wake.set()
        return self._tasks.may_start() and not self._tasks.draining and not self._starved

    def look_at_everything(self) -> None:
        """Rows became free behind the cursors."""
        self._cursors.rewind()
        self._wake.set()

    def look_again(self, queues: Collection[int]) -> None:
        """These queues changed: what waits there may lie behind the cursors."""
        self._cursors.rewind()
        self._wake.set()

    def wake(self) -> None:
        self._wake.set()

    def _room_became_free(self, queue: int) -> None:
        # While other queues have room the next poll is soon, unless nothing was claimed for a while: long runs in a
        # full queue, whose backlog would wait for it.
        if self._starved or (queue in self._full and self._pause > self._pace.busy_poll):
            self._wake.set()

    async def run(self) -> None:
        """Until draining, or until the lease is lost."""
        while not self._tasks.draining and not self._tasks.lease.lost:
            claimed, full = await self._claim_once(idle=self._pause > self._pace.busy_poll)
            now = self._clock.monotonic()
            if claimed:
                self._work_seen_at = now
            if full:
                await asyncio.sleep(0)
                continue
            self._pause = next_interval(
                self._pause, since_work=now - self._work_seen_at, listening=self.listening, pace=self._pace
            )
            await wait_at_most(self._wake, self._pause)

    async def _claim_once(self, *, idle: bool) -> tuple[int, bool]:
        """(rows claimed, whether there may be more at once)."""
        # Before looking, so that a hint during the claim is not lost; on every path, or the wait would not wait.
        self._wake.clear()
        monotonic = self._clock.monotonic()
        rooms = self._tasks.rooms()
        room = min(_MOST_PER_CLAIM, sum(rooms.values()))
        self._starved = room == 0
        self._full = frozenset(queue for queue, free in rooms.items() if free == 0)
        if self._starved or not self._tasks.may_start():
            return 0, False
        db_now = self._tasks.lease.db_now(monotonic)
        windows = [
            (strand, low, rooms[queue_of(strand)])
            for strand, low in self._cursors.windows(db_now=db_now, monotonic=monotonic, idle=idle)
            if rooms[queue_of(strand)] > 0
        ]
        try:
            async with self._tasks.claiming:
                rows = await ready_store.claim(self._db, self._tasks.lease.worker_id, windows, room)
                await self._tasks.accept(rows, sent_at=monotonic)
        except OstinatoError as error:
            # The claim may have happened without our hearing of it: rescue frees rows that we don't know.
            _log.warning("claim failed: %s", error)
            await self._clock.sleep(0.1)
            return 0, False
        self._advance(rows, windows, room, db_now)
        return len(rows), len(rows) == room

    def _advance(
        self, rows: Sequence[Row], windows: Sequence[tuple[int, datetime, int]], room: int, db_now: datetime
    ) -> None:
        counts: dict[int, int] = {}
        last: dict[int, Row] = {}
        for row in rows:
            counts[row[2]] = counts.get(row[2], 0) + 1
            if row[2] not in last or row[3] > last[row[2]][3]:
                last[row[2]] = row
        for strand, _, quota in windows:
            count = counts.get(strand, 0)
            if count >= quota:
                self._cursors.claimed(strand, count=count, quota=quota, last_ready_at=last[strand][3])
            elif len(rows) < room:
                self._cursors.drained(strand, sent_at=db_now)
