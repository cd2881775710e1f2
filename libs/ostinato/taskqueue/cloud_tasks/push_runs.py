"""Runs pushed tasks by the executors of the embedded queue; pushes of a batch class that come together run together.

Each is run while its request waits: its end is the answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from ostinato.clock import Clock
from ostinato.taskqueue.cloud_tasks.request_building import handler_deadline
from ostinato.taskqueue.embedded.executors import Executor, make_executor
from ostinato.taskqueue.embedded.task_observer import TaskObserver
from ostinato.taskqueue.embedded.task_spans import end_span
from ostinato.taskqueue.embedded.worker_stats import ClassStats
from ostinato.taskqueue.handler import Handler
from ostinato.taskqueue.outcome import Outcome, Verdict
from ostinato.taskqueue.task_context import TaskContext
from ostinato.telemetry.spans import OFF, Spans

_TEND_EVERY = 0.25  # seconds
_FULL = 2  # times what may run at once


class OurTime:
    """Tasks are due by the clock of who added them; ours is as good as theirs."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def db_now(self, monotonic: float) -> datetime:
        return self._clock.now() - timedelta(seconds=self._clock.monotonic() - monotonic)


@dataclass(frozen=True, slots=True)
class _Run:
    end: asyncio.Future[Outcome]
    until: float  # monotonic: later its request has no answer to wait for


class PushRuns:
    def __init__(
        self, handlers: Mapping[int, Handler], stats: Mapping[int, ClassStats], clock: Clock, spans: Spans = OFF
    ) -> None:
        """Both by class id."""
        self._clock = clock
        self._runs: dict[TaskContext, _Run] = {}
        self._at_once = {class_id: _at_once(handler) for class_id, handler in handlers.items()}
        self._executors: dict[int, Executor] = {
            class_id: make_executor(
                _bounded(handler),
                clock,
                self._settle,
                lambda: True,
                observer=TaskObserver(stats[class_id], OurTime(clock), spans),
            )
            for class_id, handler in handlers.items()
        }

    @property
    def running(self) -> int:
        return sum(executor.running for executor in self._executors.values())

    def has_room(self, class_id: int) -> bool:
        """False: so many wait for their turn that more had better come later."""
        return self._executors[class_id].buffered < _FULL * self._at_once[class_id]

    async def run(self, task: TaskContext) -> Outcome:
        """A cancelled caller takes its task along, unless that runs with others."""
        assert task.task_class is not None
        executor = self._executors[task.class_id]
        until = self._clock.monotonic() + handler_deadline(task.task_class).total_seconds()
        run = self._runs[task] = _Run(asyncio.get_running_loop().create_future(), until)
        try:
            executor.put([task])
            return await run.end
        except asyncio.CancelledError:
            executor.abandon(task)
            raise
        finally:
            del self._runs[task]

    async def tend(self) -> None:
        """Ends what runs too long, until cancelled."""
        while True:
            await self._clock.sleep(_TEND_EVERY)
            for executor in self._executors.values():
                executor.cancel_overdue()

    async def interrupt(self) -> None:
        """Cancels every handler. What it ran, and what has not started, is as if it had not come."""
        for executor in self._executors.values():
            self._release(executor.take_unstarted())
            await executor.stop()
            self._release(executor.take_unstarted())

    def _release(self, tasks: Iterable[TaskContext]) -> None:
        for task in tasks:
            self._settle(task, Outcome(Verdict.RELEASE))

    def _settle(self, task: TaskContext, outcome: Outcome) -> None:
        if task.settled:
            return
        task.settled = True
        if task.span is not None:
            end_span(task, task.span, outcome)
        run = self._runs.get(task)
        if run is None or run.end.done():
            return
        if outcome.verdict is Verdict.AGAIN and self._clock.monotonic() + outcome.delay.total_seconds() < run.until:
            asyncio.get_running_loop().call_later(outcome.delay.total_seconds(), self._put_back, task)
        else:
            run.end.set_result(outcome)

    def _put_back(self, task: TaskContext) -> None:
        if task in self._runs:
            task.settled = False
            self._executors[task.class_id].put([task])


def _bounded(handler: Handler) -> Handler:
    task_class = handler.task_class
    return replace(handler, task_class=replace(task_class, deadline=handler_deadline(task_class)))


def _at_once(handler: Handler) -> int:
    """Tasks of its class that may run at once."""
    task_class = handler.task_class
    return task_class.max_running * (task_class.batch_size if handler.many is not None else 1)
