"""What is added: committed runs, rolled back never; once per key; not before its time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ostinato import errors
from ostinato.pb.internal.v1.engine_tasks_pb2 import HandleNotificationTask
from ostinato.storage.database import connect
from ostinato.taskqueue import Handler, Outcome, Retry, TaskClass, TaskContext, TaskOptions
from ostinato.telemetry.tracing import use_traceparent
from tests.integration.taskqueue.conftest import until
from tests.integration.taskqueue.contract.conftest import LETTER, ONLY_INSIDE, ONLY_OUTSIDE, STAMP, Queue, letter


class Inbox:
    """Handles letters and remembers their numbers."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.tasks: list[TaskContext] = []

    async def __call__(self, task: TaskContext, payload: Any) -> None:
        self.tasks.append(task)
        self.numbers.append(payload.job_id)

    @property
    def handler(self) -> Handler:
        return Handler.single(LETTER, self)

    async def has(self, *numbers: int) -> None:
        await until(lambda: len(self.numbers) >= len(numbers))
        assert sorted(self.numbers) == sorted(numbers)


async def test_committed_runs_and_rolled_back_never(queue: Queue) -> None:
    inbox = Inbox()
    async with queue.run(inbox.handler):
        async with queue.db.transaction() as tx:
            await queue.dispatcher.add(LETTER, letter(1), tx=tx)
            await queue.dispatcher.add_many(LETTER, [letter(2), letter(3)], tx=tx)
        with pytest.raises(ZeroDivisionError):
            async with queue.db.transaction() as tx:
                await queue.dispatcher.add(LETTER, letter(4), tx=tx)
                raise ZeroDivisionError
        async with queue.db.transaction() as tx:
            with pytest.raises(ZeroDivisionError):
                async with tx.savepoint():
                    await queue.dispatcher.add(LETTER, letter(5), tx=tx)
                    raise ZeroDivisionError
            await queue.dispatcher.add(LETTER, letter(6), tx=tx)
        await inbox.has(1, 2, 3, 6)
    assert queue.dispatcher.added[LETTER] == 4


async def test_a_transaction_on_a_connection_of_the_callers_own(queue: Queue) -> None:
    connection = await connect(queue.db.settings)
    inbox = Inbox()
    try:
        async with queue.run(inbox.handler):
            async with queue.dispatcher.transaction(connection) as tx:
                await queue.dispatcher.add(LETTER, letter(1), tx=tx)
            with pytest.raises(ZeroDivisionError):
                async with queue.dispatcher.transaction(connection) as tx:
                    await queue.dispatcher.add(LETTER, letter(2), tx=tx)
                    raise ZeroDivisionError
            async with queue.dispatcher.transaction(connection) as tx:
                await queue.dispatcher.add(LETTER, letter(3), tx=tx)
            await inbox.has(1, 3)
    finally:
        await connection.close()


async def test_what_is_added_without_a_transaction_runs(queue: Queue) -> None:
    inbox = Inbox()
    async with queue.run(inbox.handler):
        ids = [
            await queue.dispatcher.add(LETTER, letter(1)),
            *await queue.dispatcher.add_many(LETTER, [letter(2), letter(3)]),
        ]
        await inbox.has(1, 2, 3)
    assert len({*ids}) == 3


async def test_who_only_adds_needs_no_handlers_and_who_runs_may_come_later(queue: Queue) -> None:
    async with queue.db.transaction() as tx:
        task_id = await queue.dispatcher.add(LETTER, letter(1), tx=tx)
    inbox = Inbox()
    async with queue.run(inbox.handler):
        await inbox.has(1)
    (task,) = inbox.tasks
    assert task.id == task_id


async def test_a_key_that_is_taken_adds_nothing(queue: Queue) -> None:
    inbox = Inbox()
    async with queue.run(inbox.handler):
        assert await queue.dispatcher.add(LETTER, letter(1), dedup_key="a") is not None
        assert await queue.dispatcher.add(LETTER, letter(2), dedup_key="a") is None
        prefixed = TaskOptions(name_prefix="mine")
        assert await queue.dispatcher.add(LETTER, letter(3), dedup_key="a", options=prefixed) is not None
        assert await queue.dispatcher.add(LETTER, letter(4), dedup_key="a", options=prefixed) is None
        await inbox.has(1, 3)
        assert await queue.dispatcher.add(LETTER, letter(5), dedup_key="a") is None  # although it has ended
    assert queue.dispatcher.added[LETTER] == 2


async def test_of_many_each_key_is_added_once(queue: Queue) -> None:
    inbox = Inbox()
    letters, keys = [letter(n) for n in range(250)], [f"key {n % 120}" for n in range(250)]
    ids = await queue.dispatcher.add_many(LETTER, letters, dedup_keys=keys)
    assert [task_id is not None for task_id in ids] == [True] * 120 + [False] * 130
    assert await queue.dispatcher.add_many(LETTER, letters[:5], dedup_keys=keys[:5]) == [None] * 5
    async with queue.run(inbox.handler):
        await inbox.has(*range(120))


async def test_a_delayed_task_runs_when_it_is_due(queue: Queue) -> None:
    inbox = Inbox()
    async with queue.run(inbox.handler):
        before = datetime.now(UTC)
        await queue.dispatcher.add(LETTER, letter(1), delay=timedelta(milliseconds=400))
        async with queue.db.transaction() as tx:
            await queue.dispatcher.add(LETTER, letter(2), eta=before + timedelta(milliseconds=500), tx=tx)
        await inbox.has(1, 2)
        assert datetime.now(UTC) - before >= timedelta(milliseconds=450)
    assert all(task.eta - before >= timedelta(milliseconds=350) for task in inbox.tasks)


async def test_deleted_tasks_never_run(queue: Queue) -> None:
    await queue.pause("mail")
    for n, key in enumerate(["a", "b", "c"]):
        await queue.dispatcher.add(LETTER, letter(n), dedup_key=key)
    prefixed = TaskOptions(name_prefix="mine")
    await queue.dispatcher.add(LETTER, letter(3), dedup_key="a", options=prefixed)
    assert await queue.dispatcher.delete(LETTER, ["a", "c", "unknown"]) == 2
    assert await queue.dispatcher.delete(LETTER, ["a"]) == 0  # it has a tombstone
    assert await queue.dispatcher.delete(LETTER, ["a"], name_prefix="mine") == 1
    assert await queue.dispatcher.add(LETTER, letter(9), dedup_key="a") is None
    await queue.resume("mail")
    inbox = Inbox()
    async with queue.run(inbox.handler):
        await queue.dispatcher.add(LETTER, letter(7))
        await inbox.has(1, 7)


async def test_a_paused_queue_starts_nothing_and_a_purge_empties_it(queue: Queue) -> None:
    inbox = Inbox()
    await queue.pause("mail")
    async with queue.run(inbox.handler):
        await queue.dispatcher.add_many(LETTER, [letter(1), letter(2)])
        await queue.purge("mail")
        await queue.dispatcher.add(LETTER, letter(3))
        assert inbox.numbers == []
        await queue.resume("mail")
        await inbox.has(3)


async def test_a_picker_chooses_among_its_queues(queue: Queue) -> None:
    seen: dict[int, str] = {}

    async def handle_many(tasks: Sequence[TaskContext]) -> Sequence[Outcome | None]:
        seen.update({task.payload.invocation_id: task.queue for task in tasks})
        return [None] * len(tasks)

    stamps = [HandleNotificationTask(invocation_id=n) for n in range(4)]
    async with queue.run(Handler.batch(STAMP, handle_many)):
        await queue.dispatcher.add(STAMP, stamps[0])
        await queue.dispatcher.add_many(STAMP, stamps[1:3])
        async with queue.db.transaction() as tx:
            await queue.dispatcher.add_many(STAMP, stamps[3:], tx=tx)
        await until(lambda: len(seen) == 4)
    assert seen == {0: "blue", 1: "red", 2: "blue", 3: "red"}
    assert queue.dispatcher.queues == ["blue", "mail", "parcels", "red"]


async def test_the_trace_and_what_was_said_of_a_task_alone_come_with_it(queue: Queue) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    inbox = Inbox()
    async with queue.run(inbox.handler):
        with use_traceparent(trace):
            await queue.dispatcher.add(
                LETTER, letter(7), options=TaskOptions(title="a/title", retry=Retry(max_attempts=9))
            )
        await inbox.has(7)
    (task,) = inbox.tasks
    assert task.traceparent is not None
    assert task.traceparent.split("-")[1] == trace.split("-")[1]
    assert task.label.endswith("(letter, a/title, job_id 7)")
    assert (task.retry.max_attempts, task.attempt, task.failures, task.queue) == (9, 1, 0, "mail")


@pytest.mark.parametrize(
    ("given", "refusal"),
    [
        ({"delay": timedelta(1), "eta": datetime(2030, 1, 1, tzinfo=UTC)}, "delay: give a delay or an eta, not both"),
        ({"delay": timedelta(-1)}, "delay: must not be negative"),
        ({"options": TaskOptions(title="a b")}, "options.title: must be"),
        ({"options": TaskOptions(name_prefix="x")}, "options.name_prefix: means nothing without a dedup key"),
        ({"options": TaskOptions(title="x" * 2083)}, "options.title: makes a URL"),
    ],
)
async def test_what_could_not_be_delivered_is_refused_before_the_commit(
    queue: Queue, given: dict[str, Any], refusal: str
) -> None:
    async with queue.db.transaction() as tx:
        with pytest.raises(errors.InvalidArgument, match=refusal):
            await queue.dispatcher.add(LETTER, letter(1), tx=tx, **given)
    inbox = Inbox()
    async with queue.run(inbox.handler):
        await queue.dispatcher.add(LETTER, letter(2))
        await inbox.has(2)


async def test_a_key_in_a_transaction_is_refused(queue: Queue) -> None:
    async with queue.db.transaction() as tx:
        with pytest.raises(errors.InvalidArgument, match="dedup_key: must not be given in a transaction"):
            await queue.dispatcher.add(LETTER, letter(1), dedup_key="a", tx=tx)


@pytest.mark.parametrize(
    ("task_class", "in_transaction", "refusal"),
    [
        (ONLY_INSIDE, False, "must be added in a transaction"),
        (ONLY_OUTSIDE, True, "must not be added in a transaction"),
    ],
)
async def test_a_class_says_whether_its_tasks_belong_to_transactions(
    queue: Queue, task_class: TaskClass[Any], in_transaction: bool, refusal: str
) -> None:
    payload = task_class.payload()
    with pytest.raises(errors.InvalidArgument, match=f"tx: `{task_class.name}` {refusal}"):
        if in_transaction:
            async with queue.db.transaction() as tx:
                await queue.dispatcher.add(task_class, payload, tx=tx)
        else:
            await queue.dispatcher.add(task_class, payload)


async def test_a_class_that_the_dispatcher_was_not_given_is_refused(queue: Queue) -> None:
    stranger = TaskClass("stranger", LETTER.payload, LETTER.kind, "mail")
    for refused in (
        queue.dispatcher.add(stranger, letter(1)),
        queue.dispatcher.add_many(stranger, [letter(1)]),
        queue.dispatcher.delete(stranger, ["a"]),
    ):
        with pytest.raises(errors.InvalidArgument, match="task_class: `stranger` was not given to this dispatcher"):
            await refused
