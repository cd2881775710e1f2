"""How tasks run and end: limits of attempts, dead letters, what is expected and what is not, batches."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from ostinato import errors
from ostinato.pb.internal.v1.engine_tasks_pb2 import HandleNotificationTask, LaunchInvocationTask
from ostinato.taskqueue import Handler, Outcome, Retry, TaskContext, TaskOptions, complete_many_in, running_task
from tests.integration.taskqueue.conftest import until
from tests.integration.taskqueue.contract.conftest import LETTER, PARCEL, STAMP, Queue, letter


async def until_dead(queue: Queue, count: int = 1) -> None:
    async with asyncio.timeout(20):
        while len(await queue.dead()) < count:
            await asyncio.sleep(0.02)


class Failing:
    """Raises the errors it was given, one per run; then it is content."""

    def __init__(self, *raised: Exception) -> None:
        self.raised = [*raised]
        self.runs: list[tuple[int, int]] = []

    async def __call__(self, task: TaskContext, _: Any) -> None:
        self.runs.append((task.attempt, task.failures))
        if self.raised:
            raise self.raised.pop(0)

    @property
    def handler(self) -> Handler:
        return Handler.single(LETTER, self)


async def test_the_failing_last_attempt_is_a_dead_letter(queue: Queue) -> None:
    failing = Failing(*[ValueError(f"no {n}") for n in range(9)])
    async with queue.run(failing.handler):
        task_id = await queue.dispatcher.add(LETTER, letter(5))
        await until_dead(queue)
    (dead,) = await queue.dead()
    assert (dead.queue, dead.class_name, dead.attempts, dead.error) == ("mail", "letter", 3, "ValueError: no 2")
    assert dead.payload == letter(5).SerializeToString()
    assert failing.runs == [(1, 0), (2, 1), (3, 2)]
    assert isinstance(task_id, int)


async def test_a_task_may_have_a_limit_of_its_own(queue: Queue) -> None:
    failing = Failing(*[ValueError("no")] * 9)
    async with queue.run(failing.handler):
        async with queue.db.transaction() as tx:
            await queue.dispatcher.add(LETTER, letter(1), tx=tx, options=TaskOptions(retry=Retry(max_attempts=1)))
        await until_dead(queue)
    assert len(failing.runs) == 1


async def test_a_failure_is_tried_again(queue: Queue) -> None:
    failing = Failing(ValueError("no"), errors.Transient("away"))
    async with queue.run(failing.handler):
        await queue.dispatcher.add(LETTER, letter(1))
        await until(lambda: len(failing.runs) == 3)
    assert await queue.dead() == []


async def test_fatal_is_a_dead_letter_at_once(queue: Queue) -> None:
    failing = Failing(errors.Fatal("useless"))
    async with queue.run(failing.handler):
        await queue.dispatcher.add(LETTER, letter(1))
        await until_dead(queue)
    (dead,) = await queue.dead()
    assert (dead.attempts, dead.error, len(failing.runs)) == (1, "Fatal: useless", 1)


async def test_ignore_drops_a_task_quietly(queue: Queue) -> None:
    failing = Failing(errors.Ignore("nothing to do"))
    async with queue.run(failing.handler) as runs:
        await queue.dispatcher.add(LETTER, letter(1))
        await until(lambda: runs.stats.done == 1)
    assert (len(failing.runs), await queue.dead()) == (1, [])


async def test_what_is_expected_uses_up_no_attempt(queue: Queue) -> None:
    later = errors.RetryLater("not yet", delay=timedelta(milliseconds=20))
    failing = Failing(later, errors.Overloaded("too much"), later, ValueError("no"), ValueError("no"))
    async with queue.run(failing.handler):
        await queue.dispatcher.add(LETTER, letter(1))
        await until(lambda: len(failing.runs) == 6)
    assert failing.runs == [(1, 0), (2, 0), (3, 0), (4, 0), (5, 1), (6, 2)]
    assert await queue.dead() == []


async def test_a_dead_letter_runs_again_when_it_is_put_back(queue: Queue) -> None:
    failing = Failing(errors.Fatal("useless"))
    async with queue.run(failing.handler):
        await queue.dispatcher.add(LETTER, letter(1), options=TaskOptions(title="a-title"))
        await until_dead(queue)
        (dead,) = await queue.dead()
        assert await queue.dispatcher.requeue_dead_letters([dead.id, 12345]) == 1
        await until(lambda: len(failing.runs) == 2)
        assert failing.runs == [(1, 0), (1, 0)]
    assert await queue.dead() == []


async def test_a_handler_that_runs_too_long_is_cancelled_and_has_failed(queue: Queue) -> None:
    seen: list[int] = []

    async def handle(task: TaskContext, _: Any) -> None:
        seen.append(task.failures)
        if len(seen) == 1:
            await asyncio.Event().wait()

    async with queue.run(Handler.single(STAMP, handle)):
        await queue.dispatcher.add(STAMP, HandleNotificationTask(invocation_id=1))
        await until(lambda: len(seen) == 2)
    assert seen == [0, 1]


async def test_what_stops_with_its_process_runs_elsewhere_and_has_not_failed(queue: Queue) -> None:
    seen: list[int] = []

    async def endless(task: TaskContext, _: Any) -> None:
        seen.append(task.failures)
        await asyncio.Event().wait()

    async with queue.run(Handler.single(LETTER, endless), grace=0.05):
        await queue.dispatcher.add(LETTER, letter(1))
        await until(lambda: seen)
    failing = Failing()
    async with queue.run(failing.handler):
        await until(lambda: failing.runs)
    assert [failures for _, failures in failing.runs] == [0]


async def test_a_batch_handler_gets_what_came_together(queue: Queue) -> None:
    batches: list[list[int]] = []

    async def handle_many(tasks: Sequence[TaskContext]) -> Sequence[Outcome | None]:
        batches.append([task.payload.invocation_id for task in tasks])
        await asyncio.sleep(0.05)  # it works on them
        return [None] * len(tasks)

    await queue.pause("parcels")
    await queue.dispatcher.add_many(PARCEL, [LaunchInvocationTask(invocation_id=n) for n in range(40)])
    async with queue.run(Handler.batch(PARCEL, handle_many)) as runs:
        await queue.resume("parcels")
        await until(lambda: runs.stats.done == 40)
    assert len(batches) < 20
    assert sorted(number for batch in batches for number in batch) == [*range(40)]


async def test_a_bad_task_of_a_batch_harms_itself_only(queue: Queue) -> None:
    async def handle_many(tasks: Sequence[TaskContext]) -> Sequence[Outcome | None]:
        if any(task.payload.invocation_id == 3 for task in tasks):
            raise errors.Fatal("three")
        return [Outcome.of_error(errors.Fatal("four")) if task.payload.invocation_id == 4 else None for task in tasks]

    async with queue.run(Handler.batch(PARCEL, handle_many)) as runs:
        await queue.dispatcher.add_many(PARCEL, [LaunchInvocationTask(invocation_id=n) for n in range(8)])
        await until(lambda: runs.stats.done == 6)
        await until_dead(queue, 2)
    assert {letter.error for letter in await queue.dead()} == {"Fatal: three", "Fatal: four"}


async def test_again_runs_in_this_process_and_counts_nothing(queue: Queue) -> None:
    attempts: list[int] = []

    async def handle_many(tasks: Sequence[TaskContext]) -> Sequence[Outcome | None]:
        attempts.extend(task.attempt for task in tasks)
        return [Outcome.again() if len(attempts) < 5 else None] * len(tasks)

    async with queue.run(Handler.batch(PARCEL, handle_many)) as runs:
        await queue.dispatcher.add(PARCEL, LaunchInvocationTask(invocation_id=1))
        await until(lambda: runs.stats.done == 1)
    assert attempts == [1] * 5


async def test_a_task_that_was_completed_in_a_transaction_has_ended_whatever_follows(queue: Queue) -> None:
    runs = 0

    async def handle(task: TaskContext, _: Any) -> None:
        nonlocal runs
        runs += 1
        async with queue.db.transaction() as tx:
            await task.complete_in(tx)
        raise ValueError("after its end")

    async with queue.run(Handler.single(LETTER, handle)) as at_work:
        await queue.dispatcher.add(LETTER, letter(1))
        await until(lambda: at_work.stats.done == 1)
    assert (runs, await queue.dead()) == (1, [])


async def test_a_completion_that_is_rolled_back_completes_nothing(queue: Queue) -> None:
    runs = 0

    async def handle_many(tasks: Sequence[TaskContext]) -> Sequence[Outcome | None]:
        nonlocal runs
        runs += 1
        async with queue.db.transaction() as tx:
            await complete_many_in(tx, tasks)
            if runs == 1:
                raise ValueError("before its end")
        return [None] * len(tasks)

    async with queue.run(Handler.batch(PARCEL, handle_many)) as at_work:
        await queue.dispatcher.add(PARCEL, LaunchInvocationTask(invocation_id=1))
        await until(lambda: at_work.stats.done == 1)
    assert runs == 2


async def test_only_inside_a_handler_is_there_a_running_task(queue: Queue) -> None:
    told: list[int] = []

    async def handle(task: TaskContext, _: Any) -> None:
        assert running_task() is task
        told.append(running_task().id)

    with pytest.raises(errors.FailedPrecondition, match="no single task is being handled here"):
        running_task()
    async with queue.run(Handler.single(LETTER, handle)):
        task_id = await queue.dispatcher.add(LETTER, letter(1))
        await until(lambda: told)
    with pytest.raises(errors.FailedPrecondition):
        running_task()
    assert isinstance(task_id, int)


async def test_a_handler_of_a_class_that_nobody_registered_is_refused(queue: Queue) -> None:
    stranger = Handler.single(type(LETTER)("stranger", LETTER.payload, LETTER.kind, "mail"), Failing())
    with pytest.raises(errors.InvalidArgument, match="handlers: `stranger` is no task class of the dispatcher"):
        async with queue.run(stranger):
            pass


async def test_what_was_said_of_a_task_alone_outlives_its_death(queue: Queue) -> None:
    failing = Failing(*[ValueError("no")] * 9)
    async with queue.run(failing.handler):
        await queue.dispatcher.add(LETTER, letter(1), options=TaskOptions(retry=Retry(max_attempts=1)))
        await until_dead(queue)
        (dead,) = await queue.dead()
        await queue.dispatcher.requeue_dead_letters([dead.id])
        await until(lambda: len(failing.runs) == 2)
        await until_dead(queue)
    assert failing.runs == [(1, 0), (1, 0)]
