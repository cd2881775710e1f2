"""Few runners for quick tasks, many at once for waiting ones, and nothing left behind."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.protobuf.wrappers_pb2 import Int64Value

from ostinato.clock import SystemClock
from ostinato.errors import InternalError, Transient
from ostinato.taskqueue.embedded.executors import Executor, make_executor
from ostinato.taskqueue.embedded.lease import Lease
from ostinato.taskqueue.embedded.task_observer import TaskObserver
from ostinato.taskqueue.embedded.worker_stats import ClassStats
from ostinato.taskqueue.handler import HandleMany, Handler
from ostinato.taskqueue.outcome import Outcome, Verdict
from ostinato.taskqueue.task_class import TaskClass, TaskKind
from ostinato.taskqueue.task_context import TaskContext

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NUMBERED = TaskClass("numbered", Int64Value, TaskKind.FOLLOWS_CONTEXT, "q", max_running=1000)


class Desk:
    """An executor without a queue around it: the test puts tasks in, `settled` shows how they ended."""

    def __init__(
        self,
        handle: Callable[[TaskContext, Any], Awaitable[None]] | None = None,
        *,
        many: HandleMany | None = None,
        max_running: int = 1000,
        deadline: timedelta = timedelta(minutes=10),
    ) -> None:
        self.settled: list[tuple[int, Verdict]] = []
        self.may_start = True
        self.stats = ClassStats()
        task_class = replace(NUMBERED, max_running=max_running, deadline=deadline)
        self.executor: Executor = make_executor(
            Handler(task_class, one=handle, many=many),
            SystemClock(),
            self._settle,
            lambda: self.may_start,
            observer=TaskObserver(self.stats, Lease(1, float("inf"), db_time_at_zero=NOW)),
        )
        self._task_class = task_class

    def put(self, *numbers: int) -> None:
        self.executor.put([self._task(number) for number in numbers])

    def _task(self, number: int) -> TaskContext:
        payload = Int64Value(value=number).SerializeToString()
        row: Any = ((0, number), number, 576, NOW, None, 0, 1, 1, 0, 0, None, payload)
        return TaskContext(row, 1, self._task_class)

    def _settle(self, task: TaskContext, outcome: Outcome) -> None:
        self.settled.append((task.id, outcome.verdict))


async def rounds(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_quick_tasks_are_run_by_few_runners() -> None:
    async def handle(_: TaskContext, __: Any) -> None:
        runners.add(asyncio.current_task())

    runners: set[object] = set()
    desk = Desk(handle)
    desk.put(*range(1000))
    while len(desk.settled) < 1000:
        await asyncio.sleep(0)
    assert sorted(number for number, _ in desk.settled) == list(range(1000))
    assert len(runners) < 100
    await desk.executor.stop()


async def test_a_thousand_waiting_handlers_are_under_way_after_a_few_rounds() -> None:
    async def handle(_: TaskContext, __: Any) -> None:
        await finish.wait()

    finish = asyncio.Event()
    desk = Desk(handle)
    desk.put(*range(1500))
    await rounds(30)
    assert (desk.executor.running, desk.executor.free, desk.executor.buffered) == (1000, 0, 500)
    finish.set()
    while len(desk.settled) < 1500:
        await asyncio.sleep(0)
    await desk.executor.stop()


@pytest.mark.parametrize("together", [1, 2, 7])
async def test_what_comes_while_others_wait_is_started(together: int) -> None:
    async def handle(_: TaskContext, payload: Any) -> None:
        started.append(payload.value)
        await finish.wait()

    started: list[int] = []
    finish = asyncio.Event()
    desk = Desk(handle)
    for first in range(0, 70, together):
        desk.put(*range(first, min(70, first + together)))
        await rounds(10)
        assert started == list(range(min(70, first + together)))
    finish.set()
    await rounds(10)
    await desk.executor.stop()


async def test_a_runner_that_becomes_free_takes_what_waits() -> None:
    async def handle(_: TaskContext, payload: Any) -> None:
        await gates[payload.value].wait()

    gates = [asyncio.Event() for _ in range(3)]
    desk = Desk(handle, max_running=1)
    desk.put(0, 1, 2)
    for number, gate in enumerate(gates):
        await rounds(10)
        assert [n for n, _ in desk.settled] == list(range(number))
        gate.set()
    await rounds(10)
    assert [verdict for _, verdict in desk.settled] == [Verdict.DONE] * 3
    await desk.executor.stop()


async def test_what_a_lapse_of_the_lease_held_up_goes_on() -> None:
    async def handle(_: TaskContext, __: Any) -> None:
        return

    desk = Desk(handle)
    desk.may_start = False
    desk.put(1, 2, 3)
    await rounds(10)
    assert desk.settled == []
    desk.may_start = True
    desk.executor.resume()
    await rounds(10)
    assert len(desk.settled) == 3
    await desk.executor.stop()


async def test_stopping_releases_what_runs_and_wakes_nobody() -> None:
    async def handle(_: TaskContext, __: Any) -> None:
        await asyncio.Event().wait()

    desk = Desk(handle, max_running=2)
    desk.put(1, 2, 3)
    await rounds(10)
    left = [task.id for task in desk.executor.take_unstarted()]
    await desk.executor.stop()
    assert left == [3]
    assert sorted(desk.settled) == [(1, Verdict.RELEASE), (2, Verdict.RELEASE)]


async def test_a_handler_that_swallows_its_cancellation_does_not_hold_up_the_stop() -> None:
    async def handle(_: TaskContext, __: Any) -> None:
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()

    desk = Desk(handle, max_running=1)
    desk.put(1, 2)
    await rounds(10)
    async with asyncio.timeout(5):
        await desk.executor.stop()
    assert desk.settled == [(1, Verdict.DONE)]
    assert [task.id for task in desk.executor.take_unstarted()] == [2]


async def test_a_stop_while_an_overdue_handler_cleans_up_does_not_wait_for_ever() -> None:
    """The runner took both cancellations for that of the deadline, and went on to rest."""

    async def handle(_: TaskContext, __: Any) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.Event().wait()

    desk = Desk(handle, deadline=timedelta(0))
    desk.put(1)
    await rounds(10)
    desk.executor.cancel_overdue()
    await rounds(10)
    async with asyncio.timeout(5):
        await desk.executor.stop()
    assert desk.settled == [(1, Verdict.RETRY)]


async def test_a_batch_handler_that_miscounts_leaves_no_task_without_an_end() -> None:
    """The runner died of it, and what it had in hand stayed claimed for as long as the process lived."""

    async def handle(_: Sequence[TaskContext]) -> Sequence[Outcome | None]:
        return [None]

    desk = Desk(many=handle)
    desk.put(1, 2, 3)
    await rounds(10)
    await desk.executor.stop()
    assert desk.settled == [(1, Verdict.DONE), (2, Verdict.DONE), (3, Verdict.DONE)]


@pytest.mark.parametrize(
    ("error", "told"), [(KeyError("x"), True), (InternalError("x"), True), (Transient("x"), False)]
)
async def test_an_error_that_no_handler_means_to_raise_is_told_with_its_traceback_and_what_it_was_about(
    error: Exception, told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(*_: object) -> None:
        raise error

    desk = Desk(fail)
    desk.put(7)
    await rounds(5)
    assert desk.settled == [(7, Verdict.RETRY)]
    traces = [record for record in caplog.records if record.exc_info]
    assert [record.getMessage() for record in traces] == (
        ["the handler of task 7 (numbered, value 7) failed unexpectedly"] if told else []
    )
    await desk.executor.stop()


async def test_every_task_is_counted_with_its_lateness_and_duration() -> None:
    async def handle(_: TaskContext, __: Any) -> None:
        """Quick."""

    desk = Desk(handle)
    desk.put(*range(100))
    while len(desk.settled) < 100:
        await asyncio.sleep(0)
    await rounds(5)
    assert (sum(desk.stats.latency.counts), sum(desk.stats.duration.counts)) == (100, 100)
    await desk.executor.stop()


async def test_a_task_of_a_batch_counts_as_long_as_the_batch() -> None:
    async def many(tasks: Sequence[TaskContext]) -> Sequence[None]:
        await asyncio.sleep(0.002)
        return [None] * len(tasks)

    desk = Desk(many=many)
    desk.put(*range(10))
    while len(desk.settled) < 10:
        await asyncio.sleep(0.001)
    await rounds(5)
    assert sum(desk.stats.duration.counts) == 10
    assert desk.stats.duration.total >= 10 * 0.002
    await desk.executor.stop()
