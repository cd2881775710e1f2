"""Claims due tasks while there is room for them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial

from ostinato.clock import Clock
from ostinato.errors import OstinatoError
from ostinato.storage.database import Database
from ostinato.storage.transaction import Row
from ostinato.taskqueue.embedded import ready_store
from ostinato.taskqueue.embedded.claim_lines import ClaimLines, Moment, Window
from ostinato.taskqueue.embedded.claimed_tasks import ClaimedTasks
from ostinato.taskqueue.embedded.event_wait import wait_at_most
from ostinato.taskqueue.embedded.limited_claims import LimitedClaims, TellOthers
from ostinato.taskqueue.embedded.poll_interval import next_interval
from ostinato.taskqueue.embedded.put_aside import PuttingAside
from ostinato.taskqueue.embedded.strand import lane_of, queue_of, strands_of

_log = logging.getLogger(__name__)
_MOST_PER_CLAIM = 1000
_FIND_EVERY = 0.25  # seconds between looks for strands that nobody told of, while there is work
_FIND_COST = 20  # such looks take at most this part of the time
_GATHER_ENDS = 0.005  # tasks that end in so short a time are reported together

# What brings rows, and how many were allowed: at most that many came.
_Claim = Callable[[], Awaitable[tuple[list[Row], int]]]


class ClaimLoop:
    """Woken by hints, by free room, and by its own clock."""

    def __init__(self, db: Database, tasks: ClaimedTasks, clock: Clock, *, tell_others: TellOthers) -> None:
        self.listening = False
        self.limited = LimitedClaims(db, tasks, clock, tell_others)
        self._db = db
        self._tasks = tasks
        self._clock = clock
        self._pace = tasks.lease.pace
        self._wake = asyncio.Event()
        self._called = False  # woken by something that may have brought work, not by a limit
        self._starved = False
        self._full: frozenset[int] = frozenset()  # queues without room at the last look
        self._open: frozenset[int] = frozenset()  # queues that had room left after it
        self._pause = self._pace.busy_poll
        self._look_at = self._find_at = self._work_seen_at = float("-inf")
        self._find_first = True
        self._gathering = False
        self._lines = ClaimLines(tasks.queue_ids, rescue_every=self._pace.rescue_every)
        self._putting_aside = PuttingAside(db, self._lines, clock)
        tasks.is_open = self._is_open
        tasks.on_room = self._room_became_free
        tasks.on_ceiling_room = self._gather_ends

    def hint(self, strands: frozenset[int] | None) -> bool:
        """Something is due in `strands` (None: anywhere). True if this process will claim all of it soon."""
        if strands is None:
            self._find_first = True
            self.wake()
            return False
        queues = {queue_of(strand) for strand in strands}
        if queues.isdisjoint(self._tasks.queue_ids):
            return False
        self._lines.mark(strands)
        self.limited.hinted(strands)
        self.wake()
        return queues <= self._open and self._tasks.may_start() and not self._tasks.draining

    def _is_open(self, queue: int) -> bool:
        return queue in self._open

    def look_at_everything(self) -> None:
        """Rows became free behind the cursors, or in strands that are not looked at."""
        self._lines.rewind()
        self._find_first = True
        self.wake()

    def may_be_claimed(self, rooms: Mapping[int, int]) -> list[int]:
        """Strands whose tasks this process would claim at once."""
        return [strand for queue in rooms if not self._tasks.is_limited(queue) for strand in self._lines.live(queue)]

    def wake(self) -> None:
        self._called = True
        self._wake.set()

    def _room_became_free(self, queue: int) -> None:
        # While other queues have room the next poll is soon, unless nothing was claimed for a while: long runs in a
        # full queue, whose backlog would wait for it.
        if self._starved or (queue in self._full and self._pause > self._pace.busy_poll):
            self.wake()

    def _gather_ends(self) -> None:
        """A task of a queue with a ceiling has ended: others may use its room."""
        if not self._gathering:
            self._gathering = True
            asyncio.get_running_loop().call_later(_GATHER_ENDS, self._wake.set)

    async def run(self) -> None:
        """Until draining, or until the lease is lost."""
        while not self._tasks.draining and not self._tasks.lease.lost:
            claimed, more = await self._claim_round()
            now = self._clock.monotonic()
            if claimed:
                self._work_seen_at = now
            if more:
                self._called = True
                await asyncio.sleep(0)
                continue
            self._pause = next_interval(
                self._pause, since_work=now - self._work_seen_at, listening=self.listening, pace=self._pace
            )
            await wait_at_most(self._wake, max(0.001, min(self._pause, self.limited.wait())))

    async def _claim_round(self) -> tuple[int, bool]:
        """(rows claimed, whether there may be more at once)."""
        # Before looking, so that a hint during the claim is not lost; on every path, or the wait would not wait.
        self._wake.clear()
        called, self._called, self._gathering = self._called, False, False
        monotonic = self._clock.monotonic()
        rooms = self._note_rooms()
        if not self._tasks.may_start():
            return 0, False
        try:
            await self.limited.report()
            await self._putting_aside.look(self._full | self.limited.exhausted)
            is_poll = not called and monotonic >= self._look_at
            if not rooms or (is_poll and self._is_idle and not await self._finds_work(rooms)):
                return 0, False
            return await self._claim_and_find(rooms, monotonic, everywhere=called or is_poll)
        except OstinatoError as error:
            # The claim may have happened without our hearing of it: `Claiming` knows.
            _log.warning("claim failed: %s", error)
            await self._clock.sleep(0.1)
            return 0, False

    async def _claim_and_find(
        self, rooms: Mapping[int, int], monotonic: float, *, everywhere: bool
    ) -> tuple[int, bool]:
        if self._find_first:
            self._find_first = False
            await self._find_strands(self._lines.unseen())
        claimed, more = await self._claim_all(rooms, monotonic, everywhere=everywhere)
        if everywhere and monotonic >= self._find_at:  # after the claim, which somebody may be waiting for
            more |= await self._find_strands(self._lines.unseen())
        return claimed, more

    def _note_rooms(self) -> dict[int, int]:
        rooms = self._tasks.rooms()
        self._full = frozenset(queue for queue, free in rooms.items() if free == 0)
        rooms = {queue: free for queue, free in rooms.items() if free > 0}
        self._starved = not rooms
        self._open = frozenset(queue for queue in rooms if not self._tasks.is_limited(queue))
        return rooms

    @property
    def _is_idle(self) -> bool:
        return self._pause > self._pace.busy_poll

    async def _finds_work(self, rooms: Mapping[int, int]) -> bool:
        """At rest a look at all strands takes the place of a claim."""
        self._look_at = self._clock.monotonic() + self._pause
        return await self._find_strands([strands_of(queue) for queue in rooms])

    async def _find_strands(self, ranges: Sequence[tuple[int, int]]) -> bool:
        """Strands that nobody told us of."""
        started = self._clock.monotonic()
        found = await ready_store.find_strands(self._db, ranges)
        ended = self._clock.monotonic()
        self._find_at = ended + max(_FIND_EVERY, _FIND_COST * (ended - started))
        self._lines.mark(found)
        return bool(found)

    async def _claim_all(self, rooms: Mapping[int, int], monotonic: float, *, everywhere: bool) -> tuple[int, bool]:
        moment = Moment(self._tasks.lease.db_now(monotonic), monotonic, self._is_idle)
        claimed, more = 0, False
        for windows, claim in self._claims(rooms, moment, everywhere=everywhere):
            rows, allowed = await self._take(claim, monotonic)
            claimed += len(rows)
            taken = [(row[2], row[3]) for row in rows]
            more |= self._lines.note(windows, taken, room=allowed, moment=moment) and allowed > 0
            self._open -= {window.strand >> 9 for window in windows if len(rows) >= allowed}
        if everywhere:
            self._look_at = monotonic + self._pause
        return claimed, more

    def _claims(
        self, rooms: Mapping[int, int], moment: Moment, *, everywhere: bool
    ) -> list[tuple[list[Window], _Claim]]:
        """One statement for all queues of which one line is looked at; one for each other, and for each with limits."""
        together: list[Window] = []
        claims: list[tuple[list[Window], _Claim]] = []
        for queue, room in rooms.items():
            windows = self._lines.windows(queue, room, moment)
            if self._tasks.is_limited(queue):
                if self.limited.may_claim(queue):
                    claim = partial(self.limited.claim, queue, windows, room, sent_at=moment.monotonic)
                    claims.append((windows, claim))
            elif not everywhere:
                continue
            elif len(windows) == 1:
                together += windows
            else:
                claims.append((windows, partial(self._claim, windows, room)))
        if together:
            together.sort(key=lambda window: lane_of(window.strand) & 7)
            room = min(_MOST_PER_CLAIM, sum(window.quota for window in together))
            claims.insert(0, (together, partial(self._claim, together, room)))
        return claims

    async def _claim(self, windows: Sequence[Window], room: int) -> tuple[list[Row], int]:
        return await ready_store.claim(self._db, self._tasks.lease.worker_id, windows, room), room

    async def _take(self, claim: _Claim, sent_at: float) -> tuple[list[Row], int]:
        async with self._tasks.claiming:
            rows, allowed = await claim()
            await self._tasks.accept(rows, sent_at=sent_at)
        return rows, allowed
