"""What one incarnation holds: tasks claimed, waiting, running, or ended but not yet written.

Rows come in by `accept`, ends go out by the completion writer. A task is known from its claim until its end is
written, so that a row of ours that we don't know can only mean a claim whose answer was lost.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from google.protobuf.message import DecodeError

from ostinato.clock import Clock
from ostinato.errors import OstinatoError
from ostinato.storage.database import Database
from ostinato.storage.transaction import Row
from ostinato.taskqueue.embedded import name_store
from ostinato.taskqueue.embedded.claiming import Claiming
from ostinato.taskqueue.embedded.completion_writer import CompletionWriter
from ostinato.taskqueue.embedded.executors import Executor, make_executor
from ostinato.taskqueue.embedded.expected_tasks import ExpectedTasks
from ostinato.taskqueue.embedded.lease import Lease
from ostinato.taskqueue.embedded.queue_load import QueueLoad
from ostinato.taskqueue.embedded.queue_state import QueueState
from ostinato.taskqueue.embedded.ready_store import DeadRow, Fence, RetryRow
from ostinato.taskqueue.embedded.refusal import decide_refusal
from ostinato.taskqueue.embedded.strand import pair_of, queue_of
from ostinato.taskqueue.embedded.suspect_lane import SuspectLane
from ostinato.taskqueue.embedded.task_log import TaskLog
from ostinato.taskqueue.embedded.task_observer import TaskObserver
from ostinato.taskqueue.embedded.task_spans import end_span
from ostinato.taskqueue.embedded.worker_stats import WorkerStats
from ostinato.taskqueue.handler import Handler
from ostinato.taskqueue.outcome import Outcome, Verdict, decide_next_step
from ostinato.taskqueue.task_context import TaskContext
from ostinato.telemetry.spans import OFF, Spans

_log = logging.getLogger(__name__)


class ClaimedTasks:
    """`claiming` is held while rows are claimed and accepted: whoever compares known with claimed takes it too."""

    def __init__(
        self,
        db: Database,
        lease: Lease,
        handlers: Sequence[tuple[int, int, Handler]],
        *,
        clock: Clock,
        stats: WorkerStats,
        randomness: random.Random,
        spans: Spans = OFF,
    ) -> None:
        """`handlers`: (class id, queue id, handler)."""
        self.lease = lease
        self.expected = ExpectedTasks()
        self.claiming = Claiming(clock)
        self.draining = False
        self._db = db
        self.on_room: Callable[[int], None] = lambda _: None  # a task of this queue ended
        self.on_ceiling_room: Callable[[], None] = lambda: None  # the end of one under a ceiling was written
        self.is_open: Callable[[int], bool] = lambda _: False  # all that waits in this queue would be claimed now
        self.ceilings: frozenset[int] = frozenset()  # queues that bound what is claimed at once
        self._clock = clock
        self._stats = stats
        self._random = randomness
        self._log = TaskLog(lease, clock)
        self._known: dict[int, TaskContext] = {}
        self._claimed_again: dict[int, Fence] = {}
        self.writer = CompletionWriter(db, lease.worker_id, clock, stats, self._forget)
        self._suspects = SuspectLane(db, self, clock)
        self._executors: dict[int, Executor] = {}  # by queue and class, as are the loads
        self._queues: dict[int, QueueLoad] = {}
        self._loads: dict[int, QueueLoad] = {}
        self._queue_of_class = {class_id: queue_id for class_id, queue_id, _ in handlers}
        for class_id, queue_id, handler in handlers:
            load = self._queues.setdefault(queue_id, QueueLoad())
            key = pair_of(queue_id, class_id)
            executor = make_executor(
                handler,
                clock,
                self.settle,
                partial(self._may_start_of, load),
                observer=TaskObserver(stats.classes[class_id], lease, spans),
            )
            self._executors[key] = executor
            self._loads[key] = load
            load.executors.append(executor)

    @property
    def queue_ids(self) -> list[int]:
        return list(self._queues)

    @property
    def running(self) -> int:
        return sum(executor.running for executor in self._executors.values())

    @property
    def known_ids(self) -> list[int]:
        return [*self._known, *self.expected.ids]

    def may_start(self) -> bool:
        return self.lease.holds(self._clock.monotonic())

    def _may_start_of(self, load: QueueLoad) -> bool:
        monotonic = self._clock.monotonic()  # for each task: no call more than necessary
        return self.lease.holds(monotonic) and load.may_start(monotonic, self.lease) and not self._suspects.exclusive

    def _may_start_alone(self, load: QueueLoad) -> bool:
        monotonic = self._clock.monotonic()
        return self.lease.holds(monotonic) and load.may_start(monotonic, self.lease)

    def learn(self, states: Mapping[int, QueueState]) -> set[int]:
        """Takes over states of queues, returns the changed ones. What may no longer start is put back or dropped."""
        changed = {queue for queue, state in states.items() if self._queues[queue].state != state}
        for queue in changed:
            self._queues[queue].learn(states[queue])
        self.ceilings = frozenset(queue for queue, state in states.items() if state.has_ceiling)
        for key, executor in self._executors.items():
            executor.put(self._admit(self._loads[key], executor.take_unstarted()))
        return changed

    def is_limited(self, queue: int) -> bool:
        state = self._queues[queue].state
        return state is not None and state.is_limited

    def held(self, queue: int) -> int:
        """Tasks of the queue whose end is not written yet."""
        return sum(1 for task in self._known.values() if queue_of(task.strand) == queue)

    def rooms(self) -> dict[int, int]:
        """How many more tasks of each queue id to claim now."""
        monotonic = self._clock.monotonic()
        return {queue: load.room(monotonic) for queue, load in self._queues.items()}

    def db_now(self) -> datetime:
        return self.lease.db_now(self._clock.monotonic())

    async def accept(self, rows: Sequence[Row], *, sent_at: float) -> None:
        """Starts what a claim brought that was sent at `sent_at`.

        Returns when it is known which of the named ones were deleted meanwhile.
        """
        ready: list[TaskContext] = []
        named: list[TaskContext] = []
        for row in rows:
            self._stats.of(row[6]).claimed += 1
            if row[1] in self._known:
                # It still runs here under an older claim, which is rejected in the end; then this one is freed.
                self._claimed_again[row[1]] = (row[0], row[1])
                continue
            executor = self._executors.get(pair_of(row[2] >> 9, row[6]))
            task = TaskContext(row, self.lease.worker_id, executor.handler.task_class if executor else None)
            self._known[task.id] = task
            if not self._is_decodable(task):
                self._refuse(task)
            elif not row[9]:  # no name, and no death charged to it: the normal case
                ready.append(task)
            elif self._is_deadly(task):
                self._bury(task, task.failures, f"its worker died {task.crashes} times in a row")
            elif task.is_named:
                named.append(task)
            else:
                ready.append(task)
        for key in self._loads.keys() & {pair_of(row[2] >> 9, row[6]) for row in rows}:
            self._loads[key].seen_open_at = sent_at
        self._put(ready)
        if named:
            await self._put_unless_deleted(named)

    def startable(self, class_id: int) -> int:
        """How many tasks of the class that come now would start at once, with nobody waiting before them."""
        if self.draining or (queue_id := self._queue_of_class.get(class_id)) is None:
            return 0
        load, executor = self._loads[pair_of(queue_id, class_id)], self._executors[pair_of(queue_id, class_id)]
        if executor.buffered or not self.is_open(queue_id) or not self._may_start_of(load):
            return 0
        return executor.free - self.expected.count(class_id)

    def accept_born(self, tasks: Sequence[TaskContext]) -> None:
        """Starts tasks whose insert as ours was committed."""
        if self.lease.lost:
            return  # whoever frees what we held frees these
        for task in tasks:
            self._stats.of(task.class_id).claimed += 1
            self._known[task.id] = task
        if self.draining:
            self._release(tasks)
        else:
            self._put(tasks)

    def _put(self, tasks: Sequence[TaskContext]) -> None:
        by_key: dict[int, list[TaskContext]] = {}
        for task in tasks:
            by_key.setdefault(pair_of(queue_of(task.strand), task.class_id), []).append(task)
        for key, alike in by_key.items():
            admitted = self._admit(self._loads[key], alike)
            if suspects := [task for task in admitted if task.is_suspect]:
                admitted = [task for task in admitted if not task.is_suspect]
            self._executors[key].put(admitted)
            for task in suspects:
                self._suspects.put(task)

    def _admit(self, load: QueueLoad, tasks: Sequence[TaskContext]) -> Sequence[TaskContext]:
        """Those that may start. A paused queue's are released; what was added before a purge is dropped."""
        state = load.state
        if state is None or state.paused:
            self._release(tasks)
            return ()
        if state.purge_before is None:
            return tasks
        for task in tasks:
            if state.is_purged(task.eta):
                task.settled = True
                self._stats.of(task.class_id).purged += 1
                self._write_done(task)
        return [task for task in tasks if not task.settled]

    async def _put_unless_deleted(self, tasks: Sequence[TaskContext]) -> None:
        try:
            alive = await name_store.alive_tasks(self._db, [task.id for task in tasks])
        except OstinatoError as error:
            _log.warning("whether named tasks were deleted is not known, they are released: %s", error)
            self._release(tasks)
            return
        for task in tasks:
            if task.id not in alive:
                task.settled = True
                self._stats.of(task.class_id).deleted += 1
                self.writer.done(task.fence)
        remaining = [task for task in tasks if task.id in alive]
        if self.draining or self.lease.lost:
            self._release(remaining)
        else:
            self._put(remaining)

    def _release(self, tasks: Iterable[TaskContext]) -> None:
        for task in tasks:
            self.settle(task, Outcome(Verdict.RELEASE))

    def _is_decodable(self, task: TaskContext) -> bool:
        if task.task_class is None:
            return False
        try:
            _ = task.payload
        except DecodeError:
            return False
        return True

    def _refuse(self, task: TaskContext) -> None:
        now = self.db_now()
        refusal = decide_refusal(eta=task.eta, refused_since=task.header.refused_since, now=now)
        why = "no handler for this class" if task.task_class is None else "the payload can't be decoded"
        task.settled = True
        if refusal.give_up:
            self._bury(task, task.failures, why)
            return
        self._log.refused(task, why, refusal.delay)
        header = replace(task.header, refused_since=refusal.refused_since)
        self._stats.of(task.class_id).retried += 1
        self.writer.retry(RetryRow(task.fence, refusal.delay, task.failures, header.encode()))

    def _is_deadly(self, task: TaskContext) -> bool:
        limit = task.task_class.max_crashes if task.task_class else 0
        return 0 < limit <= task.crashes

    def _bury(self, task: TaskContext, failures: int, why: str) -> None:
        self._log.dead(task, why)
        task.settled = True
        self._stats.of(task.class_id).dead += 1
        self.writer.bury(DeadRow(task.fence, failures, why))

    def admits(self, task: TaskContext) -> bool:
        """Whether a suspect may start now; if not, it is free for others or dropped."""
        load = self._loads[pair_of(queue_of(task.strand), task.class_id)]
        if not self._admit(load, [task]):
            return False
        if self.draining or not self._may_start_alone(load):
            self._release([task])
            return False
        return True

    def run_alone(self, task: TaskContext) -> None:
        """Starts a suspect, whose row was written anew, in no batch with others."""
        self._known[task.id] = task
        self._executors[pair_of(queue_of(task.strand), task.class_id)].run_alone(task)

    def settle(self, task: TaskContext, outcome: Outcome) -> None:
        """How a task ended. Only the first end counts."""
        if task.settled:
            return
        task.settled = True
        queue = queue_of(task.strand)
        self.on_room(queue)
        load = self._queues[queue]
        monotonic = self._clock.monotonic()
        load.ended(monotonic, outcome.verdict)
        if outcome.verdict is Verdict.DONE:
            stats = self._stats.of(task.class_id)
            stats.done += 1
            if monotonic >= stats.tell_from:
                self._log.done(task, stats, monotonic)
            if task.completed:
                self._forget(task.id)
            else:
                self._write_done(task)
        else:
            self._settle_undone(task, outcome, load.overload_left(monotonic))
        if task.span is not None:
            end_span(task, task.span, outcome)

    def _write_done(self, task: TaskContext) -> None:
        if task.is_named:
            self.writer.done_named(task.fence)
        else:
            self.writer.done(task.fence)

    def _settle_undone(self, task: TaskContext, outcome: Outcome, overload: timedelta) -> None:
        step = decide_next_step(outcome, task.retry, failures=task.failures, jitter=self._random.random())
        match step.verdict:
            case Verdict.IGNORE:
                self._stats.of(task.class_id).done += 1
                self._write_done(task)
            case Verdict.RETRY:
                delay = overload if outcome.verdict is Verdict.OVERLOADED else step.delay
                self._log.retried(task, outcome, delay)
                self._stats.of(task.class_id).retried += 1
                self.writer.retry(RetryRow(task.fence, delay, step.failures, task.raw_header))
            case Verdict.DEAD:
                self._bury(task, step.failures, step.error)
            case Verdict.RELEASE:
                self._stats.of(task.class_id).released += 1
                self.writer.release(task.fence)
            case Verdict.AGAIN:
                asyncio.get_running_loop().call_later(step.delay.total_seconds(), self._put_back, task)
            case _:  # LOST
                self._log.lost(task, outcome.error)
                self._stats.rejected += 1
                self._forget(task.id)

    def _put_back(self, task: TaskContext) -> None:
        if self.lease.lost:
            return
        task.settled = False
        if self.draining:
            self.settle(task, Outcome(Verdict.RELEASE))
        else:
            self._put([task])

    def tend(self) -> None:
        """To be called many times a second: ends what runs too long, goes on with what a stalled heartbeat held up."""
        for executor in self._executors.values():
            executor.cancel_overdue()
        self.resume()

    def resume(self) -> None:
        """Starts what had to wait, if it may start now."""
        for executor in self._executors.values():
            executor.resume()

    def release_unstarted(self) -> None:
        self._release(self._suspects.take_unstarted())
        for executor in self._executors.values():
            self._release(executor.take_unstarted())

    async def interrupt(self) -> None:
        """Cancels every handler; what it ran is released, or dropped when the lease is lost."""
        await self._suspects.stop()
        for executor in self._executors.values():
            await executor.stop()

    async def abandon(self) -> None:
        """Nothing is ours any more: forgets everything, interrupts what runs. The fence rejects what still ends."""
        self._suspects.take_unstarted()
        for executor in self._executors.values():
            executor.take_unstarted()
        await self.interrupt()
        self._known.clear()
        self._claimed_again.clear()

    def _forget(self, task_id: int) -> None:
        task = self._known.pop(task_id, None)
        if self.ceilings and task is not None and queue_of(task.strand) in self.ceilings:
            self.on_ceiling_room()
        if (fence := self._claimed_again.pop(task_id, None)) is not None:
            self.writer.release(fence)
