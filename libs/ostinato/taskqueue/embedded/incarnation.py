"""One life of a worker: from taking a lease to losing or giving it back.

It claims, runs, completes and moves in under one worker id. When the lease is lost everything claimed under it is
forgotten at once (the fence rejects what still ends), and the worker begins a new incarnation.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from google.protobuf.message import DecodeError

from ostinato.clock import Clock
from ostinato.errors import OstinatoError
from ostinato.storage.database import Database
from ostinato.storage.transaction import Row
from ostinato.taskqueue.embedded import ready_store, worker_store
from ostinato.taskqueue.embedded.claim_cursor import BEGINNING, ClaimCursors
from ostinato.taskqueue.embedded.completion_writer import CompletionWriter
from ostinato.taskqueue.embedded.executors import Executor, make_executor
from ostinato.taskqueue.embedded.lease import Lease
from ostinato.taskqueue.embedded.poll_interval import BUSY, next_interval
from ostinato.taskqueue.embedded.queue_load import QueueLoad
from ostinato.taskqueue.embedded.ready_store import DeadRow, RetryRow
from ostinato.taskqueue.embedded.refusal import decide_refusal
from ostinato.taskqueue.embedded.strand import REDELIVERY, queue_of, strand_of
from ostinato.taskqueue.embedded.worker_stats import WorkerStats
from ostinato.taskqueue.handler import Handler
from ostinato.taskqueue.outcome import Outcome, Verdict, decide_next_step
from ostinato.taskqueue.task_context import TaskContext

_log = logging.getLogger(__name__)
_MOST_PER_CLAIM = 1000
_MOST_PER_MOVE = 1000
_LOOK_LATER_EVERY = 1.0
_RESCUE_EVERY = 15.0
_LATE_INSERTS = timedelta(seconds=60)


class Incarnation:
    """Built by Worker; the loops run in the worker's task group."""

    def __init__(
        self,
        db: Database,
        lease: Lease,
        handlers: Sequence[tuple[int, int, Handler]],
        *,
        clock: Clock,
        stats: WorkerStats,
        randomness: random.Random,
    ) -> None:
        """`handlers`: (class id, queue id, handler)."""
        self.lease = lease
        self.listening = False
        self._db = db
        self._clock = clock
        self._stats = stats
        self._random = randomness
        self._known: dict[int, TaskContext] = {}
        self._claiming = asyncio.Lock()
        self._wake = asyncio.Event()
        self._later_wake = asyncio.Event()
        self._draining = False
        self._starved = False
        self._work_seen_at = float("-inf")
        self.writer = CompletionWriter(
            db,
            lease.worker_id,
            clock,
            stats,
            forget=lambda task_id: self._known.pop(task_id, None),
            retried=self._later_wake.set,
        )
        self._executors: dict[int, Executor] = {}
        self._queues: dict[int, QueueLoad] = {}
        for class_id, queue_id, handler in handlers:
            executor = make_executor(handler, clock, self._settle, self._may_start)
            self._executors[class_id] = executor
            self._queues.setdefault(queue_id, QueueLoad()).executors.append(executor)
        # What a dead process left comes first.
        self._strands = [strand_of(queue, subqueue=REDELIVERY) for queue in self._queues]
        self._strands += [strand_of(queue) for queue in self._queues]
        self._cursors = ClaimCursors(self._strands)

    @property
    def running(self) -> int:
        return sum(executor.running for executor in self._executors.values())

    def _may_start(self) -> bool:
        return self.lease.holds(self._clock.monotonic())

    # -- hints ------------------------------------------------------------------------------------------------

    def hint_ready(self, strands: frozenset[int] | None) -> bool:
        """Wakes the claim loop; True if this process has room for it."""
        if strands is not None and strands.isdisjoint(self._strands):
            return False
        self._wake.set()
        return self._may_start() and not self._draining and not self._starved

    def hint_later(self, delay: timedelta) -> None:
        if delay.total_seconds() < _LOOK_LATER_EVERY:
            self._later_wake.set()

    def look_at_everything(self) -> None:
        """After rows became free behind the cursors."""
        self._cursors.rewind()
        self._wake.set()

    # -- claiming ---------------------------------------------------------------------------------------------

    async def claim_loop(self) -> None:
        """Runs until draining, or until the lease is lost."""
        pause = BUSY
        while not self._draining and not self.lease.lost:
            claimed, full = await self._claim_once(idle=pause > BUSY)
            now = self._clock.monotonic()
            if claimed:
                self._work_seen_at = now
            if full:
                await asyncio.sleep(0)
                continue
            pause = next_interval(pause, since_work=now - self._work_seen_at, listening=self.listening)
            await self._wait(self._wake, pause)

    async def _claim_once(self, *, idle: bool) -> tuple[int, bool]:
        """(rows claimed, whether there may be more at once)."""
        # Before looking, so that a hint during the claim is not lost; on every path, or the wait would not wait.
        self._wake.clear()
        monotonic = self._clock.monotonic()
        rooms = {queue: load.room(monotonic) for queue, load in self._queues.items()}
        room = min(_MOST_PER_CLAIM, sum(rooms.values()))
        self._starved = room == 0
        if self._starved or not self._may_start():
            return 0, False
        db_now = self.lease.db_now(monotonic)
        windows = [
            (strand, low, rooms[queue_of(strand)])
            for strand, low in self._cursors.windows(db_now=db_now, monotonic=monotonic, idle=idle)
            if rooms[queue_of(strand)] > 0
        ]
        try:
            async with self._claiming:
                rows = await ready_store.claim(self._db, self.lease.worker_id, windows, room)
                self._accept(rows)
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

    def _accept(self, rows: Sequence[Row]) -> None:
        by_class: dict[int, list[TaskContext]] = {}
        for row in rows:
            if row[1] in self._known:
                continue  # still running here under an older claim; rescue frees this row when that one has ended
            executor = self._executors.get(row[6])
            task = TaskContext(row, self.lease.worker_id, executor.handler.task_class if executor else None)
            self._known[task.id] = task
            if self._is_decodable(task):
                by_class.setdefault(task.class_id, []).append(task)
            else:
                self._refuse(task)
        self._stats.claimed += len(rows)
        for class_id, tasks in by_class.items():
            self._executors[class_id].put(tasks)

    def _is_decodable(self, task: TaskContext) -> bool:
        if task.task_class is None:
            return False
        try:
            _ = task.payload
        except DecodeError:
            return False
        return True

    def _refuse(self, task: TaskContext) -> None:
        now = self.lease.db_now(self._clock.monotonic())
        refusal = decide_refusal(eta=task.eta, refused_since=task.header.refused_since, now=now)
        why = "no handler for this class" if task.task_class is None else "the payload can't be decoded"
        task.settled = True
        if refusal.give_up:
            _log.error("task %d (%s) goes to the dead letters: %s", task.id, task.class_name, why)
            self._stats.dead += 1
            self.writer.bury(DeadRow(task.fence, task.failures, why))
            return
        _log.warning("task %d (%s) refused, again in %s: %s", task.id, task.class_name, refusal.delay, why)
        header = replace(task.header, refused_since=refusal.refused_since)
        self._stats.retried += 1
        self.writer.retry(RetryRow(task.fence, refusal.delay, task.failures, header.encode()))

    # -- ends -------------------------------------------------------------------------------------------------

    def _settle(self, task: TaskContext, outcome: Outcome) -> None:
        if task.settled:
            return
        task.settled = True
        if self._starved:
            self._wake.set()
        load = self._queues[queue_of(task.strand)]
        load.ended(self._clock.monotonic(), outcome.verdict)
        if outcome.verdict is Verdict.DONE:
            self._stats.done += 1
            if task.completed:
                self._known.pop(task.id, None)
            else:
                self.writer.done(task.fence)
            return
        self._settle_undone(task, outcome, load)

    def _settle_undone(self, task: TaskContext, outcome: Outcome, load: QueueLoad) -> None:
        assert task.task_class is not None
        step = decide_next_step(outcome, task.task_class.retry, failures=task.failures, jitter=self._random.random())
        match step.verdict:
            case Verdict.IGNORE:
                self._stats.done += 1
                self.writer.done(task.fence)
            case Verdict.RETRY:
                delay = load.overload_pause if outcome.verdict is Verdict.OVERLOADED else step.delay
                self._log_retry(task, outcome, delay)
                self._stats.retried += 1
                self.writer.retry(RetryRow(task.fence, delay, step.failures, task.raw_header))
            case Verdict.DEAD:
                _log.error("task %d (%s) goes to the dead letters: %s", task.id, task.class_name, step.error)
                self._stats.dead += 1
                self.writer.bury(DeadRow(task.fence, step.failures, step.error))
            case Verdict.RELEASE:
                self._stats.released += 1
                self.writer.release(task.fence)
            case Verdict.AGAIN:
                asyncio.get_running_loop().call_later(step.delay.total_seconds(), self._put_back, task)
            case _:  # LOST
                _log.warning("task %d (%s) is no longer this process's: %s", task.id, task.class_name, outcome.error)
                self._stats.rejected += 1
                self._known.pop(task.id, None)

    def _log_retry(self, task: TaskContext, outcome: Outcome, delay: timedelta) -> None:
        level = logging.WARNING if outcome.verdict is Verdict.RETRY else logging.DEBUG
        _log.log(
            level,
            "task %d (%s) failed, again in %.1f s: %s",
            task.id,
            task.class_name,
            delay.total_seconds(),
            outcome.error,
        )

    def _put_back(self, task: TaskContext) -> None:
        if self.lease.lost:
            return
        task.settled = False
        if self._draining:
            self._settle(task, Outcome(Verdict.RELEASE))
        else:
            self._executors[task.class_id].put([task])

    # -- moving in --------------------------------------------------------------------------------------------

    async def later_loop(self) -> None:
        """Moves tasks to the ready table when they become due."""
        full_at = float("-inf")
        while not self._draining and not self.lease.lost:
            monotonic = self._clock.monotonic()
            db_now = self.lease.db_now(monotonic)
            since = db_now - _LATE_INSERTS
            if monotonic - full_at >= _RESCUE_EVERY:
                since, full_at = BEGINNING, monotonic
            self._later_wake.clear()
            pause = _LOOK_LATER_EVERY
            try:
                next_due = await ready_store.find_next_due(self._db, since)
                if next_due is not None:
                    pause = (next_due - self.lease.db_now(self._clock.monotonic())).total_seconds()
                if pause <= 0 and await self._move_in(since) == 0:
                    pause = 0.005  # due by our estimate, not yet by the database's clock, or taken by another
            except OstinatoError as error:
                _log.warning("moving due tasks in failed: %s", error)
            if pause > 0:
                await self._wait(self._later_wake, min(pause, _LOOK_LATER_EVERY))

    async def _move_in(self, since: datetime) -> int:
        rooms = {queue: load.room(self._clock.monotonic()) for queue, load in self._queues.items()}
        strands = [strand for strand in self._strands if rooms[queue_of(strand)] > 0]
        room = min((rooms[queue_of(strand)] for strand in strands), default=0)
        async with self._claiming:
            rows = await ready_store.move_in(
                self._db,
                self.lease.worker_id,
                since=since,
                strands=strands,
                room=room if self._may_start() else 0,
                most=_MOST_PER_MOVE,
            )
            self._accept([row for row in rows if row[12] == self.lease.worker_id])
        if any(row[12] == 0 for row in rows):
            self._wake.set()
        return len(rows)

    # -- care -------------------------------------------------------------------------------------------------

    async def reap(self, dead_workers: Sequence[int]) -> None:
        """Frees what dead processes had claimed. Every process that saw them tries; one wins."""
        try:
            freed = await worker_store.reap(self._db, dead_workers)
        except OstinatoError as error:
            _log.warning("reaping failed, the next heartbeat tries again: %s", error)
            return
        if freed:
            self._stats.reaped += freed
            _log.warning("freed %d tasks of dead workers %s", freed, list(dead_workers))
            self._wake.set()

    async def rescue_loop(self) -> None:
        """Frees rows whose owner is gone, and rows of ours that we never heard of."""
        pause = _RESCUE_EVERY
        while not self._draining and not self.lease.lost:
            await self._clock.sleep(pause)
            started = self._clock.monotonic()
            try:
                freed = await worker_store.free_orphans(self._db)
                async with self._claiming:
                    freed += await worker_store.free_unknown(self._db, self.lease.worker_id, list(self._known))
            except OstinatoError as error:
                _log.warning("rescue failed, it is tried again: %s", error)
                continue
            if freed:
                self._stats.rescued += freed
                _log.warning("rescued %d tasks without an owner", freed)
                self.look_at_everything()
            # It reads the whole ready table: at most one part in a hundred of the time.
            pause = max(_RESCUE_EVERY, 100 * (self._clock.monotonic() - started))

    def cancel_overdue(self) -> None:
        for executor in self._executors.values():
            executor.cancel_overdue()

    # -- end --------------------------------------------------------------------------------------------------

    def begin_drain(self) -> None:
        """Claims no more; what is claimed but not started is released."""
        self._draining = True
        self._wake.set()
        self._later_wake.set()
        for executor in self._executors.values():
            for task in executor.take_unstarted():
                self._settle(task, Outcome(Verdict.RELEASE))

    async def finish_drain(self, grace: float) -> None:
        """Waits for what runs, at most `grace` seconds; interrupts and releases the rest; gives the lease back."""
        until = self._clock.monotonic() + grace
        while self.running and self._clock.monotonic() < until:
            await self._clock.sleep(0.02)
        for executor in self._executors.values():
            await executor.stop()
        await self.writer.flush()
        await worker_store.free_unknown(self._db, self.lease.worker_id, [])
        await worker_store.delete_worker(self._db, self.lease.worker_id)

    async def abandon(self) -> None:
        """The lease is lost: interrupts everything; nothing is written, the fence would reject it."""
        self.lease.lost = True
        for executor in self._executors.values():
            executor.take_unstarted()
            await executor.stop()
        self._known.clear()

    @staticmethod
    async def _wait(event: asyncio.Event, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            return
