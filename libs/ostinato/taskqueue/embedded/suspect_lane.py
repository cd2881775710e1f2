"""Runs suspects: tasks that were held by workers which died, more than once.

One after the other, in no batch with others, each marked in its row before it starts, so that the next death is charged
to the one that ran. A culprit, which was alone when its worker died, starts when nothing else of this process runs.
A task that has survived a second is left to itself: what kills processes mostly does so at once, and long runs must not
hold up everything else. Where many wait it is less, so that all have started within ten seconds: if one of them kills
the process after that, those that it was beside are culprits with it, fewer each time.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Protocol

from ostinato.clock import Clock
from ostinato.errors import OstinatoError
from ostinato.storage.database import Database
from ostinato.taskqueue.embedded import worker_store
from ostinato.taskqueue.outcome import Outcome, Verdict
from ostinato.taskqueue.task_context import TaskContext
from ostinato.taskqueue.task_flags import CULPRIT_FROM

_log = logging.getLogger(__name__)
_PATIENCE = 1.0  # seconds
_PATIENCE_WITH_ALL = 10.0
_LOOKS = 100


class Host(Protocol):
    """What the lane needs of the tasks that its process holds."""

    @property
    def running(self) -> int: ...

    def admits(self, task: TaskContext) -> bool:
        """Whether the task may start now; if not, it is settled."""
        ...

    def run_alone(self, task: TaskContext) -> None:
        """Starts the task, whose row was written anew, in no batch with others."""
        ...

    def settle(self, task: TaskContext, outcome: Outcome) -> None: ...

    def resume(self) -> None:
        """Starts what had to wait."""
        ...


class SuspectLane:
    """`exclusive` is True while nothing but the task of this lane may start."""

    def __init__(self, db: Database, host: Host, clock: Clock) -> None:
        self.exclusive = False
        self._db = db
        self._host = host
        self._clock = clock
        self._waiting: deque[TaskContext] = deque()
        self._crowd = 1  # how many waited at most since the lane was empty
        self._run: asyncio.Task[None] | None = None

    def put(self, task: TaskContext) -> None:
        _log.warning("task %s was held by %d workers that died: it runs alone", task.label, task.crashes)
        self._waiting.append(task)
        self._crowd = max(self._crowd, len(self._waiting))
        if self._run is None or self._run.done():
            self._run = asyncio.ensure_future(self._run_waiting())

    def take_unstarted(self) -> list[TaskContext]:
        tasks = list(self._waiting)
        self._waiting.clear()
        return tasks

    async def stop(self) -> None:
        """Starts nothing any more."""
        if self._run is not None:
            self._run.cancel()
            await asyncio.gather(self._run, return_exceptions=True)

    async def _run_waiting(self) -> None:
        while self._waiting:
            first = self._waiting.popleft()
            if self._host.admits(first) and (task := await self._marked(first)) is not None:
                await self._run_one(task)
        self._crowd = 1

    async def _marked(self, task: TaskContext) -> TaskContext | None:
        if task.is_alone:
            return task
        try:
            row = await worker_store.mark_alone(self._db, task.worker_id, task.fence)
        except OstinatoError as error:
            _log.warning("task %s was not marked before it ran alone, it is released: %s", task.label, error)
            self._host.settle(task, Outcome(Verdict.RELEASE))
            return None
        if row is None:
            self._host.settle(task, Outcome(Verdict.LOST, error="another process has taken over"))
            return None
        return TaskContext(row, task.worker_id, task.task_class)

    async def _run_one(self, task: TaskContext) -> None:
        self.exclusive = task.crashes >= CULPRIT_FROM
        try:
            if self.exclusive:
                await self._wait_for(lambda: not self._host.running)
            if self._host.admits(task):  # once more: since it was asked a pause, a purge or a drain may have come
                self._host.run_alone(task)
                await self._wait_for(lambda: task.settled)
        finally:
            if self.exclusive:
                self.exclusive = False
                self._host.resume()

    async def _wait_for(self, condition: Callable[[], bool]) -> None:
        patience = min(_PATIENCE, _PATIENCE_WITH_ALL / self._crowd)
        until = self._clock.monotonic() + patience
        while not condition() and self._clock.monotonic() < until:
            await self._clock.sleep(patience / _LOOKS)
