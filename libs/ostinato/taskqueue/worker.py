"""Runs tasks of the embedded queue in this process: takes a lease, claims, runs handlers, completes.

A worker lives through many incarnations: each has a worker id that is never used again. Losing the lease (a stall,
a database away for longer than six seconds) ends the incarnation and begins the next.
"""

from __future__ import annotations

import asyncio
import logging
import platform
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from ostinato.clock import Clock, SystemClock
from ostinato.errors import OstinatoError
from ostinato.storage.database import Database
from ostinato.taskqueue.dispatcher import Dispatcher
from ostinato.taskqueue.embedded import worker_store
from ostinato.taskqueue.embedded.claimed_tasks import ClaimedTasks
from ostinato.taskqueue.embedded.heartbeat import HeartbeatThread, MainLoopPulse, beat_in_task, beat_once
from ostinato.taskqueue.embedded.incarnation import Incarnation
from ostinato.taskqueue.embedded.lease import Lease
from ostinato.taskqueue.embedded.pace import NORMAL, Pace
from ostinato.taskqueue.embedded.worker_stats import ClassStats, WorkerStats
from ostinato.taskqueue.embedded.worker_store import Beat
from ostinato.taskqueue.handler import Handler, by_queue, check_handlers
from ostinato.taskqueue.listening import Listening
from ostinato.taskqueue.wake_up import QUEUES_CHANGED, parse_hint
from ostinato.telemetry.spans import OFF, Spans

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """`listen` needs a direct connection to the database; without it wake-ups are found by polling."""

    listen: bool = True
    heartbeat_in_thread: bool = True
    pace: Pace = NORMAL
    drain_grace: float = 20.0  # seconds for running handlers once draining


class Worker:
    """One per process. `run` returns after `drain`, when nothing of this process is claimed any more."""

    def __init__(
        self,
        db: Database,
        dispatcher: Dispatcher,
        handlers: Sequence[Handler],
        *,
        settings: WorkerSettings | None = None,
        clock: Clock | None = None,
        randomness: random.Random | None = None,
        spans: Spans = OFF,
    ) -> None:
        check_handlers(handlers, dispatcher.class_ids)
        self.stats = WorkerStats()
        self._db = db
        self._dispatcher = dispatcher
        self._handlers = [
            (dispatcher.class_ids[handler.task_class.name], dispatcher.queue_ids[each.task_class.queue], each)
            for handler in handlers
            for each in by_queue(handler)
        ]
        for task_class in (handler.task_class for handler in handlers):
            class_id = dispatcher.class_ids[task_class.name]
            self.stats.classes[class_id] = ClassStats(task_class.name, ", ".join(task_class.queues))
        self._settings = settings or WorkerSettings()
        self._clock = clock or SystemClock()
        self._random = randomness or random.Random()
        self._spans = spans
        self._incarnation: Incarnation | None = None
        self._listening = False
        self._draining = asyncio.Event()
        self._lost = asyncio.Event()
        self._reaping: set[asyncio.Task[None]] = set()
        self._outlived: list[int] = []  # worker ids whose lease ended, but not this process

    @property
    def worker_id(self) -> int:
        """0 while there is no lease."""
        return self._incarnation.lease.worker_id if self._incarnation else 0

    @property
    def lease_valid(self) -> bool:
        return self._incarnation is not None and self._incarnation.lease.holds(self._clock.monotonic())

    @property
    def running(self) -> int:
        """Tasks whose handler runs now."""
        return self._incarnation.tasks.running if self._incarnation else 0

    @property
    def draining(self) -> bool:
        return self._draining.is_set()

    def drain(self) -> None:
        """Stops claiming; `run` returns when what runs has ended, or after the grace."""
        self._draining.set()
        if self._incarnation is not None:
            self._incarnation.begin_drain()

    async def run(self) -> None:
        """Runs tasks until drained. Survives a database that comes and goes."""
        self._dispatcher.wake_ups.listen(self._hint_ready, self._hint_later)
        listening = Listening(self._db, self._clock, heard=self._heard, switched=self._set_listening)
        listens = self._settings.listen and self._db.settings.can_listen
        listener = asyncio.ensure_future(listening.run()) if listens else None
        try:
            while not self._draining.is_set():
                lease = await self._take_lease_unless_draining()
                if lease is not None:
                    await self._live(lease)
        finally:
            if listener is not None:
                listener.cancel()
                await asyncio.gather(listener, return_exceptions=True)

    async def _take_lease_unless_draining(self) -> Lease | None:
        """A server that does not answer must not hold up a drain: nothing is claimed yet."""
        taking = asyncio.ensure_future(self._take_lease())
        draining = asyncio.ensure_future(self._draining.wait())
        try:
            await asyncio.wait((taking, draining), return_when=asyncio.FIRST_COMPLETED)
            return taking.result() if taking.done() else None
        finally:
            taking.cancel()
            draining.cancel()
            await asyncio.gather(taking, draining, return_exceptions=True)

    async def _take_lease(self) -> Lease | None:
        """None when the database did not answer; worker ids are random and never used again."""
        lease = Lease(self._random.randrange(1, 1 << 31), float("-inf"), self._settings.pace)
        duration = timedelta(seconds=lease.pace.lease)
        try:
            if not await worker_store.register_worker(self._db, lease.worker_id, duration, platform.node()):
                return None
            await beat_once(self._db, lease, self._clock, self._report)
        except OstinatoError as error:
            _log.warning("no lease, the database does not answer: %s", error)
            await self._clock.sleep(0.5)
            return None
        return lease

    async def _live(self, lease: Lease) -> None:
        self._lost.clear()
        tasks = ClaimedTasks(
            self._db,
            lease,
            self._handlers,
            clock=self._clock,
            stats=self.stats,
            randomness=self._random,
            spans=self._spans,
        )
        incarnation = Incarnation(
            self._db,
            tasks,
            clock=self._clock,
            stats=self.stats,
            tell_others=self._dispatcher.wake_ups.tell_others,
        )
        incarnation.claims.listening = self._listening
        self._incarnation = incarnation
        self._dispatcher.handover.tasks = tasks
        _log.info("worker %d begins", lease.worker_id)
        async with self._heartbeat(lease), asyncio.TaskGroup() as group:
            writer = group.create_task(tasks.writer.run())
            loops = [
                group.create_task(incarnation.claims.run()),
                group.create_task(incarnation.later.run()),
            ]
            background = [
                writer,
                group.create_task(incarnation.watch.run()),
                group.create_task(incarnation.rescue_loop()),
                group.create_task(incarnation.lost_claims.run()),
                group.create_task(incarnation.give_back(self._outlived)),
            ]
            await self._until_drained_or_lost()
            self._dispatcher.handover.tasks = None
            if self._lost.is_set():
                _log.error("worker %d lost its lease: what it runs is abandoned", lease.worker_id)
                await incarnation.abandon()
                self._outlived.append(lease.worker_id)
            else:
                incarnation.begin_drain()
                await asyncio.wait(loops, timeout=lease.pace.lease)  # what is answered later is nobody's by then
                incarnation.begin_drain()  # again: a claim was perhaps under way
                await self._finish_drain(incarnation)
            for task in (*loops, *background):
                task.cancel()
        self._incarnation = None

    async def _finish_drain(self, incarnation: Incarnation) -> None:
        try:
            await incarnation.finish_drain(self._settings.drain_grace)
        except OstinatoError as error:
            _log.warning("the lease was not given back, it ends by itself: %s", error)
        else:
            _log.info("worker %d gave its lease back", incarnation.lease.worker_id)

    async def _until_drained_or_lost(self) -> None:
        while not self._draining.is_set() and not self._lost.is_set():
            await self._clock.sleep(self._settings.pace.beat_every / 30)
            self._pulse.at = self._clock.monotonic()
            assert self._incarnation is not None
            self._incarnation.tasks.tend()
            if not self._incarnation.lease.holds(self._pulse.at):
                self._lost.set()

    @asynccontextmanager
    async def _heartbeat(self, lease: Lease) -> AsyncIterator[None]:
        self._pulse = MainLoopPulse(self._clock.monotonic())
        if not self._settings.heartbeat_in_thread:
            task = asyncio.ensure_future(beat_in_task(self._db, lease, self._clock, self._report))
            try:
                yield
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            return
        thread = HeartbeatThread(self._db.settings, lease, self._clock, self._pulse, self._report)
        thread.start()
        try:
            yield
        finally:
            await thread.stop()

    def _report(self, beat: Beat) -> None:
        if not beat.alive:
            self._lost.set()
        elif self._incarnation is not None:
            self._act_on(beat, self._incarnation)

    def _act_on(self, beat: Beat, incarnation: Incarnation) -> None:
        if beat.queue_versions != incarnation.lease.versions:
            incarnation.watch.changed()
        steady = incarnation.lease.is_steady(self._clock.monotonic())
        if beat.dead_workers and steady and not self._reaping:  # the next heartbeat tells again
            task = asyncio.ensure_future(incarnation.reap(beat.dead_workers))
            self._reaping.add(task)
            task.add_done_callback(self._reaping.discard)

    def _hint_ready(self, strands: frozenset[int] | None) -> bool:
        return self._incarnation is not None and self._incarnation.claims.hint(strands)

    def _hint_later(self, delay: timedelta) -> None:
        if self._incarnation is not None:
            self._incarnation.later.hint(delay)

    def _heard(self, payload: str) -> None:
        if payload != QUEUES_CHANGED:
            self._hint_ready(parse_hint(payload))
        elif self._incarnation is not None:
            self._incarnation.watch.changed()

    def _set_listening(self, *, on: bool) -> None:
        self._listening = on
        if self._incarnation is not None:
            self._incarnation.claims.listening = on
