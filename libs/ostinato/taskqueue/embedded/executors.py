"""Runs claimed tasks: one executor per task class, single or batch.

Runners are few and long-lived: each pulls from the class's deque and awaits the handler directly, so a task costs
no asyncio task of its own, and a handler that waits suspends one runner, never the others.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from typing import Any

from ostinato.clock import Clock
from ostinato.errors import InternalError, OstinatoError
from ostinato.taskqueue.embedded.task_observer import TaskObserver
from ostinato.taskqueue.embedded.task_spans import begin_spans
from ostinato.taskqueue.handler import HandleMany, HandleOne, Handler
from ostinato.taskqueue.outcome import Outcome, Verdict
from ostinato.taskqueue.running_task import RUNNING_TASK
from ostinato.taskqueue.task_context import TaskContext
from ostinato.telemetry.tracing import use_traceparent

_log = logging.getLogger(__name__)
_YIELD_EVERY = 0.001

# What a finished task goes to: writes its end, or puts it back.
Settle = Callable[[TaskContext, Outcome], None]


class Executor(ABC):
    """Buffers and runs the tasks of one class."""

    def __init__(
        self, handler: Handler, clock: Clock, settle: Settle, may_start: Callable[[], bool], *, observer: TaskObserver
    ) -> None:
        self.handler = handler
        self._observer = observer
        self._clock = clock
        self._settle = settle
        self._may_start = may_start
        self._waiting: deque[TaskContext] = deque()
        self._runners: set[asyncio.Task[None]] = set()
        self._idle: list[asyncio.Future[None]] = []
        self._stopping = False
        self._running: dict[asyncio.Task[None], Sequence[TaskContext]] = {}

    @property
    def buffered(self) -> int:
        return len(self._waiting)

    @property
    def running(self) -> int:
        return sum(len(tasks) for tasks in self._running.values())

    @property
    @abstractmethod
    def free(self) -> int:
        """How many more tasks could start at once."""

    @property
    @abstractmethod
    def in_batches(self) -> int:
        """Tasks that run together with others."""

    def put(self, tasks: Iterable[TaskContext]) -> None:
        self._waiting.extend(tasks)
        self._wake(self._wanted_runners())

    def run_alone(self, task: TaskContext) -> None:
        """Starts it at once, in no batch with others and whatever else runs."""
        self._add_runner(self._run_alone(task))

    def take_unstarted(self) -> list[TaskContext]:
        """Empties the buffer, for a release or after a lost lease."""
        tasks = list(self._waiting)
        self._waiting.clear()
        return tasks

    def abandon(self, task: TaskContext) -> None:
        """Nobody waits for its end any more: it does not start, and is cancelled if it runs by itself."""
        if task in self._waiting:
            self._waiting.remove(task)
        for runner, tasks in self._running.items():
            if len(tasks) == 1 and tasks[0] is task:
                runner.cancel()

    def cancel_overdue(self) -> None:
        """Cancels what runs longer than its class's deadline."""
        oldest = self._clock.monotonic() - self.handler.task_class.deadline.total_seconds()
        for runner, tasks in self._running.items():
            if tasks and tasks[0].started_at < oldest and not tasks[0].overdue:
                for task in tasks:
                    task.overdue = True
                runner.cancel()

    def resume(self) -> None:
        """Starts what waits because the lease seemed to lapse. Harmless at any time."""
        self._wake(self._wanted_runners())

    async def stop(self) -> None:
        """Cancels what runs; each interrupted task is settled as released. Nothing starts any more."""
        self._stopping = True  # a runner whose handler swallows the cancellation must end as well
        for runner in self._runners:
            runner.cancel()
        await asyncio.gather(*self._runners, return_exceptions=True)
        self._runners.clear()

    def _wake(self, wanted: int) -> None:
        """Sets off one runner, which sets off the next when it finds more work than its own.

        So quick tasks are run by the few that are awake. Where handlers wait, it is two: a thousand are under way
        after ten rounds.
        """
        wanted = min(wanted, 2 if self._running else 1)
        while self._idle and wanted > 0:
            idle = self._idle.pop()
            if not idle.done():
                idle.set_result(None)
                wanted -= 1
        room = self.handler.task_class.max_running - len(self._runners)
        for _ in range(min(wanted, room)):
            self._add_runner(self._run())

    def _add_runner(self, run: Coroutine[Any, Any, None]) -> None:
        runner = asyncio.ensure_future(run)
        self._runners.add(runner)
        runner.add_done_callback(self._ended)

    def _ended(self, runner: asyncio.Task[None]) -> None:
        self._runners.discard(runner)
        if not runner.cancelled() and (error := runner.exception()):
            _log.error("a runner of %s died", self.handler.task_class.name, exc_info=error)

    async def _run(self) -> None:
        runner = asyncio.current_task()
        assert runner is not None
        while not self._stopping:
            if not self._waiting or not self._may_start():
                await self._rest()
                continue
            self._wake(self._wanted_runners() - 1)
            await self._run_waiting(runner)

    async def _run_alone(self, task: TaskContext) -> None:
        runner = asyncio.current_task()
        assert runner is not None
        await self._run_tasks(runner, [task])
        self._observer.ran(task, 1, self._clock.monotonic() - task.started_at)

    async def _run_waiting(self, runner: asyncio.Task[None]) -> None:
        """Returns when nothing is left to start."""
        while self._waiting and self._may_start() and not self._stopping:
            if await self._run_turn(runner):
                await asyncio.sleep(0)

    async def _run_turn(self, runner: asyncio.Task[None]) -> bool:
        """True when it is the others' turn: after a millisecond, which quick tasks share, and its measurement too."""
        first, runs, count, seconds = self._waiting[0], 0, 0, 0.0
        began = self._clock.monotonic()
        while self._waiting and self._may_start() and not self._stopping and seconds <= _YIELD_EVERY:
            tasks = self._take()
            await self._run_tasks(runner, tasks)
            runs += 1
            count += len(tasks)
            seconds = self._clock.monotonic() - began
        self._observer.ran(first, count, seconds / max(1, runs))
        return seconds > _YIELD_EVERY

    async def _rest(self) -> None:
        idle: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._idle.append(idle)
        try:
            await idle
        except asyncio.CancelledError:
            with suppress(ValueError):  # not there when it was set off at the same moment
                self._idle.remove(idle)
            raise

    async def _run_tasks(self, runner: asyncio.Task[None], tasks: Sequence[TaskContext]) -> None:
        started_at = self._clock.monotonic()
        for task in tasks:
            task.started_at = started_at
        if self._observer.spans.on:
            begin_spans(self._observer.spans, tasks)
        self._running[runner] = tasks
        try:
            await self._execute(tasks)
        except asyncio.CancelledError:
            if not tasks[0].overdue:
                self._settle_open(tasks, Outcome(Verdict.RELEASE))
                raise
            runner.uncancel()
            self._settle_open(tasks, Outcome(Verdict.RETRY, error="ran longer than its deadline"))
        finally:
            del self._running[runner]

    def _settle_open(self, tasks: Sequence[TaskContext], outcome: Outcome) -> None:
        for task in tasks:
            self._settle(task, Outcome.done() if task.completed else outcome)

    @abstractmethod
    def _wanted_runners(self) -> int: ...

    @abstractmethod
    def _take(self) -> Sequence[TaskContext]: ...

    @abstractmethod
    async def _execute(self, tasks: Sequence[TaskContext]) -> None: ...


class SingleExecutor(Executor):
    """One task per handler call, up to `max_running` at once."""

    def __init__(
        self,
        handler: Handler,
        handle: HandleOne,
        clock: Clock,
        settle: Settle,
        may_start: Callable[[], bool],
        *,
        observer: TaskObserver,
    ) -> None:
        super().__init__(handler, clock, settle, may_start, observer=observer)
        self._handle = handle

    @property
    def free(self) -> int:
        return self.handler.task_class.max_running - len(self._running)

    @property
    def in_batches(self) -> int:
        return 0

    def _wanted_runners(self) -> int:
        return len(self._waiting)

    def _take(self) -> Sequence[TaskContext]:
        return (self._waiting.popleft(),)

    async def _execute(self, tasks: Sequence[TaskContext]) -> None:
        (task,) = tasks
        RUNNING_TASK.set(task)
        try:
            if task.raw_header is None:
                await self._handle(task, task.payload)
            else:
                with use_traceparent(task.traceparent):
                    await self._handle(task, task.payload)
        except Exception as error:  # noqa: BLE001 - the outcome table decides
            self._settle_open(tasks, _judged(task, error))
        else:
            self._settle(task, Outcome.done())
        finally:
            RUNNING_TASK.set(None)


class BatchExecutor(Executor):
    """Many tasks per handler call. A batch that raises is run again one by one: a bad task harms itself only."""

    def __init__(
        self,
        handler: Handler,
        handle_many: HandleMany,
        clock: Clock,
        settle: Settle,
        may_start: Callable[[], bool],
        *,
        observer: TaskObserver,
    ) -> None:
        super().__init__(handler, clock, settle, may_start, observer=observer)
        self._handle_many = handle_many

    @property
    def free(self) -> int:
        size = self.handler.task_class.batch_size
        return size * (self.handler.task_class.max_running - len(self._running))

    @property
    def in_batches(self) -> int:
        return self.running

    def _wanted_runners(self) -> int:
        return -(-len(self._waiting) // self.handler.task_class.batch_size)

    def _take(self) -> Sequence[TaskContext]:
        size = min(len(self._waiting), self.handler.task_class.batch_size)
        return [self._waiting.popleft() for _ in range(size)]

    async def _execute(self, tasks: Sequence[TaskContext]) -> None:
        try:
            outcomes = _one_each(await self._handle_many(tasks), tasks)
        except Exception as error:  # noqa: BLE001 - the outcome table decides
            await self._after_failure(tasks, error)
            return
        for task, outcome in zip(tasks, outcomes, strict=True):
            self._settle(task, outcome or Outcome.done())

    async def _after_failure(self, tasks: Sequence[TaskContext], error: Exception) -> None:
        if len(tasks) == 1:
            self._settle_open(tasks, _judged(tasks[0], error))
            return
        _log.info("a batch of %d %s failed, one by one now: %s", len(tasks), self.handler.task_class.name, error)
        for task in tasks:
            if task.completed:
                self._settle(task, Outcome.done())
            else:
                await self._execute([task])


def _judged(task: TaskContext, error: Exception) -> Outcome:
    """What the error means for its task. One that no handler means to raise is a bug: it is told with its traceback."""
    quiet = task.task_class is not None and task.task_class.quiet_on_error
    if not quiet and (isinstance(error, InternalError) or not isinstance(error, OstinatoError)):
        _log.error("the handler of task %s failed unexpectedly", task.label, exc_info=error)
    return Outcome.of_error(error)


def _one_each(outcomes: Sequence[Outcome | None], tasks: Sequence[TaskContext]) -> Sequence[Outcome | None]:
    if len(outcomes) != len(tasks):
        raise InternalError(f"the handler told {len(outcomes)} outcomes of {len(tasks)} tasks")
    return outcomes


def make_executor(
    handler: Handler, clock: Clock, settle: Settle, may_start: Callable[[], bool], *, observer: TaskObserver
) -> Executor:
    if handler.many is not None:
        return BatchExecutor(handler, handler.many, clock, settle, may_start, observer=observer)
    assert handler.one is not None
    return SingleExecutor(handler, handler.one, clock, settle, may_start, observer=observer)
