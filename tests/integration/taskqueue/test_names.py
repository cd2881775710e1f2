"""Dedup keys: of two tasks of one key the second is not added, until a while after the first has ended."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from ostinato import errors
from ostinato.pb.internal.v1.engine_tasks_pb2 import HandleNotificationTask
from ostinato.storage.database import Database
from ostinato.taskqueue import (
    Dispatcher,
    Handler,
    Outcome,
    QueueSettings,
    TaskContext,
    complete_many_in,
    list_dead_letters,
    open_dispatcher,
)
from ostinato.taskqueue.embedded import name_store, ready_store, worker_store
from ostinato.taskqueue.embedded.fair_share import BEGINNING
from ostinato.taskqueue.embedded.strand import strand_of
from tests.integration.taskqueue.conftest import CLASSES, LETTER, STAMP, letter, running, until

HOUR_AHEAD = "expires_at between ostinato_now() + interval '59 min' and ostinato_now() + interval '61 min'"


async def quiet(_: TaskContext, __: Any) -> None:
    """Does nothing."""


async def names(db: Database) -> list[tuple[int, bool]]:
    """(task id, whether its key is free again after an hour) of every name; others never expire."""
    rows = await db.fetch(
        f"select task_id, {HOUR_AHEAD} as ended, expires_at = 'infinity' as alive from tq_name order by task_id"
    )
    assert all(row["ended"] != row["alive"] for row in rows)
    return [(row["task_id"], row["ended"]) for row in rows]


async def until_ended(db: Database, task_id: int | None) -> None:
    async with asyncio.timeout(10):
        while await names(db) != [(task_id, True)]:
            await asyncio.sleep(0.01)


async def window_passes(db: Database) -> None:
    """Locks in the order in which everybody does."""
    await db.execute(
        """
        with over as materialized (
            select queue_id, name_hash from tq_name
             where expires_at < 'infinity' order by queue_id, name_hash for update
        )
        update tq_name n set expires_at = ostinato_now() from over o
         where (n.queue_id, n.name_hash) = (o.queue_id, o.name_hash)
        """
    )


async def test_a_key_that_is_taken_adds_nothing_and_says_so(database: Database, dispatcher: Dispatcher) -> None:
    first = await dispatcher.add(LETTER, letter(1), dedup_key="a")
    assert first is not None
    assert await dispatcher.add(LETTER, letter(2), dedup_key="a") is None
    assert await dispatcher.add(LETTER, letter(3), dedup_key="a", delay=timedelta(hours=1)) is None
    assert await dispatcher.add(STAMP, HandleNotificationTask(), dedup_key="a") is not None  # another class
    rows = await database.fetch("select id from tq_ready where class_id = $1", dispatcher.class_ids["letter"])
    assert [row["id"] for row in rows] == [first]
    assert await database.fetchval("select count(*) from tq_later") == 0


async def test_two_namespaces_do_not_share_keys(database: Database, dispatcher: Dispatcher) -> None:
    async with open_dispatcher(database, classes=[LETTER], namespace="other") as other:
        assert await dispatcher.add(LETTER, letter(1), dedup_key="a") is not None
        assert await other.add(LETTER, letter(2), dedup_key="a") is not None
        assert await other.delete(LETTER, ["a"]) == 1
    assert await dispatcher.delete(LETTER, ["a"]) == 1


async def test_of_many_those_with_a_free_key_are_added_and_each_is_told(
    database: Database, dispatcher: Dispatcher
) -> None:
    taken = await dispatcher.add(LETTER, letter(0), dedup_key="b")
    ids = await dispatcher.add_many(LETTER, [letter(n) for n in range(4)], dedup_keys=["a", "b", "c", "a"])
    assert [task_id is not None for task_id in ids] == [True, False, True, False]
    stored = {row["id"] for row in await database.fetch("select id from tq_ready")}
    assert stored == {taken, ids[0], ids[2]}


async def test_delayed_tasks_have_keys_too(database: Database, dispatcher: Dispatcher) -> None:
    added = await dispatcher.add_many(LETTER, [letter(1)], dedup_keys=["a"], delay=timedelta(seconds=0.05))
    assert await dispatcher.add(LETTER, letter(2), dedup_key="a") is None
    async with running(database, dispatcher, Handler.single(LETTER, quiet)):
        await until_ended(database, added[0])


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"dedup_key": ""}, "dedup_key"),
        ({"dedup_key": "x" * 1001}, "dedup_key"),
        ({"dedup_key": "\udcff"}, "dedup_key"),
    ],
)
async def test_a_key_that_cannot_be_one_is_refused(
    database: Database, dispatcher: Dispatcher, options: dict[str, Any], field: str
) -> None:
    with pytest.raises(errors.InvalidArgument) as refused:
        await dispatcher.add(LETTER, letter(1), **options)
    assert [violation.path for violation in refused.value.violations] == [field]
    assert await database.fetchval("select count(*) from tq_ready") == 0


async def test_as_many_keys_as_payloads_are_needed(dispatcher: Dispatcher) -> None:
    with pytest.raises(errors.InvalidArgument, match="dedup_keys"):
        await dispatcher.add_many(LETTER, [letter(1)], dedup_keys=["a", "b"])


async def test_a_key_in_a_transaction_is_refused_before_anything_is_buffered(
    database: Database, dispatcher: Dispatcher
) -> None:
    async with database.transaction() as tx:
        with pytest.raises(errors.InvalidArgument, match="dedup_key"):
            await dispatcher.add(LETTER, letter(1), dedup_key="a", tx=tx)
        with pytest.raises(errors.InvalidArgument, match="dedup_key"):
            await dispatcher.add_many(LETTER, [letter(1)], dedup_keys=["a"], tx=tx)
        assert not tx.buffers
    assert await database.fetchval("select count(*) from tq_ready") == 0


async def test_a_namespace_that_is_no_name_is_refused(database: Database) -> None:
    with pytest.raises(errors.InvalidArgument, match="namespace"):
        async with open_dispatcher(database, classes=[LETTER], namespace="9 lives"):
            pass


async def in_its_transaction(db: Database, tasks: Sequence[TaskContext]) -> None:
    async with db.transaction() as tx:
        await complete_many_in(tx, tasks)


@pytest.mark.parametrize("ending", ["done", "ignored", "dead", "in its own transaction"])
async def test_every_end_of_a_task_starts_the_window_of_its_key(
    database: Database, dispatcher: Dispatcher, ending: str
) -> None:
    async def handle(task: TaskContext, _: Any) -> None:
        if ending == "ignored":
            raise errors.Ignore
        if ending == "dead":
            raise errors.Fatal("never")
        if ending == "in its own transaction":
            await in_its_transaction(database, [task])

    added = await dispatcher.add(LETTER, letter(1), dedup_key="a")
    await dispatcher.add(LETTER, letter(2))
    async with running(database, dispatcher, Handler.single(LETTER, handle)):
        await until_ended(database, added)
    assert await dispatcher.add(LETTER, letter(3), dedup_key="a") is None
    await window_passes(database)
    assert await dispatcher.add(LETTER, letter(4), dedup_key="a") is not None


async def test_named_and_unnamed_tasks_are_completed_in_one_transaction(
    database: Database, dispatcher: Dispatcher
) -> None:
    async def handle_many(tasks: Sequence[TaskContext]) -> Sequence[Outcome | None]:
        await in_its_transaction(database, tasks)
        return [None] * len(tasks)

    await dispatcher.add(LETTER, letter(1))
    added = await dispatcher.add(LETTER, letter(2), dedup_key="a")
    async with running(database, dispatcher, Handler.batch(LETTER, handle_many)) as worker:
        await until_ended(database, added)
        await until(lambda: worker.stats.done == 2)
    assert await database.fetchval("select count(*) from tq_ready") == 0


async def test_the_window_is_the_queues(database: Database, dispatcher: Dispatcher) -> None:
    settings = QueueSettings("mail", dedup_window=timedelta(0))
    async with open_dispatcher(database, classes=CLASSES, queues=[settings]):
        pass
    async with running(database, dispatcher, Handler.single(LETTER, quiet)) as worker:
        for number in range(3):
            assert await dispatcher.add(LETTER, letter(number), dedup_key="a") is not None
            async with asyncio.timeout(10):
                while await database.fetchval("select count(*) from tq_ready"):
                    await asyncio.sleep(0.01)
        await until(lambda: worker.stats.done == 3)


@pytest.mark.parametrize("window", [timedelta(seconds=-1), timedelta(days=31)])
async def test_a_window_that_makes_no_sense_is_refused(database: Database, window: timedelta) -> None:
    with pytest.raises(errors.InvalidArgument, match="dedup_window"):
        async with open_dispatcher(database, classes=CLASSES, queues=[QueueSettings("mail", dedup_window=window)]):
            pass


async def test_a_flood_of_named_tasks_is_diverted_like_any_other(database: Database, dispatcher: Dispatcher) -> None:
    keys = [str(n) for n in range(200)]
    await dispatcher.add_many(LETTER, [letter(1)] * 200, dedup_keys=keys, fair_keys=[7] * 200)
    strands = await database.fetch("select strand & 63 as subqueue, count(*) from tq_ready group by 1 order by 1")
    assert [row["subqueue"] == 0 for row in strands] == [True, False]
    assert sum(row["count"] for row in strands) == 200


async def test_a_retry_and_a_release_keep_the_key(database: Database, dispatcher: Dispatcher) -> None:
    started = asyncio.Event()

    async def handle(task: TaskContext, _: Any) -> None:
        if task.failures == 0:
            raise RuntimeError("once")
        started.set()
        await asyncio.Event().wait()

    added = await dispatcher.add(LETTER, letter(1), dedup_key="a")
    async with running(database, dispatcher, Handler.single(LETTER, handle)) as worker:
        await started.wait()
        assert await names(database) == [(added, False)]  # between two runs
        worker.drain()
    assert await names(database) == [(added, False)]
    assert await database.fetchval("select claimed_by from tq_ready") == 0
    assert await dispatcher.add(LETTER, letter(2), dedup_key="a") is None


async def test_deleted_tasks_are_dropped_and_their_keys_stay_taken_for_a_while(
    database: Database, dispatcher: Dispatcher
) -> None:
    seen: list[int] = []

    async def handle(_: TaskContext, payload: Any) -> None:
        seen.append(payload.job_id)

    ids = await dispatcher.add_many(LETTER, [letter(n) for n in range(3)], dedup_keys=["a", "b", "c"])
    ids += await dispatcher.add_many(LETTER, [letter(3)], dedup_keys=["d"], delay=timedelta(seconds=0.05))
    assert await dispatcher.delete(LETTER, ["a", "c", "d", "unknown"]) == 3
    assert await dispatcher.delete(LETTER, ["a"]) == 0  # already deleted
    assert await dispatcher.add(LETTER, letter(4), dedup_key="a") is None
    async with running(database, dispatcher, Handler.single(LETTER, handle)) as worker:
        await until(lambda: worker.stats.deleted == 3 and worker.stats.done == 1)
    assert seen == [1]
    assert await names(database) == [(task_id, True) for task_id in sorted(filter(None, ids))]
    assert await database.fetchval("select (select count(*) from tq_ready) + (select count(*) from tq_later)") == 0


async def test_a_deleted_task_whose_key_was_used_again_is_dropped_all_the_same(
    database: Database, dispatcher: Dispatcher
) -> None:
    seen: list[int] = []

    async def handle(_: TaskContext, payload: Any) -> None:
        seen.append(payload.job_id)

    await dispatcher.add(LETTER, letter(1), dedup_key="a")
    await dispatcher.delete(LETTER, ["a"])
    await window_passes(database)
    assert await dispatcher.add(LETTER, letter(2), dedup_key="a") is not None
    async with running(database, dispatcher, Handler.single(LETTER, handle)) as worker:
        await until(lambda: worker.stats.deleted + worker.stats.done == 2)
    assert seen == [2]


async def test_deleting_what_runs_does_not_stop_it(database: Database, dispatcher: Dispatcher) -> None:
    started, finish = asyncio.Event(), asyncio.Event()

    async def handle(_: TaskContext, __: Any) -> None:
        started.set()
        await finish.wait()

    added = await dispatcher.add(LETTER, letter(1), dedup_key="a")
    async with running(database, dispatcher, Handler.single(LETTER, handle)) as worker:
        await started.wait()
        assert await dispatcher.delete(LETTER, ["a"]) == 1
        finish.set()
        await until(lambda: worker.stats.done == 1)
        await until_ended(database, added)


async def test_deletes_beyond_one_statement_delete_all(database: Database, dispatcher: Dispatcher) -> None:
    keys = [str(n) for n in range(2500)]
    await dispatcher.add_many(LETTER, [letter(n) for n in range(2500)], dedup_keys=keys)
    assert await dispatcher.delete(LETTER, keys) == 2500


async def test_a_requeued_dead_letter_takes_its_key_again(database: Database, dispatcher: Dispatcher) -> None:
    broken = True

    async def handle(_: TaskContext, __: Any) -> None:
        if broken:
            raise errors.Fatal("never")

    added = await dispatcher.add(LETTER, letter(1), dedup_key="a")
    assert added is not None
    async with running(database, dispatcher, Handler.single(LETTER, handle)):
        await until_ended(database, added)
    await dispatcher.requeue_dead_letters([added])
    await window_passes(database)
    assert await dispatcher.add(LETTER, letter(2), dedup_key="a") is None
    broken = False
    async with running(database, dispatcher, Handler.single(LETTER, handle)):
        await until_ended(database, added)


async def test_a_requeued_dead_letter_whose_key_is_anothers_runs_without_one(
    database: Database, dispatcher: Dispatcher
) -> None:
    seen: list[int] = []

    async def handle(_: TaskContext, payload: Any) -> None:
        seen.append(payload.job_id)
        if seen == [1]:
            raise errors.Fatal("never")

    added = await dispatcher.add(LETTER, letter(1), dedup_key="a")
    assert added is not None
    async with running(database, dispatcher, Handler.single(LETTER, handle)) as worker:
        await until_ended(database, added)
        assert await list_dead_letters(database)
        await window_passes(database)
        other = await dispatcher.add(LETTER, letter(2), dedup_key="a")
        await until_ended(database, other)
        await dispatcher.requeue_dead_letters([added])
        await until(lambda: worker.stats.done == 2)
    assert seen == [1, 2, 1]
    assert await names(database) == [(other, True)]


async def test_free_names_are_forgotten_and_taken_ones_are_not(database: Database, dispatcher: Dispatcher) -> None:
    await dispatcher.add_many(LETTER, [letter(n) for n in range(5)], dedup_keys=list("abcde"))
    await dispatcher.delete(LETTER, ["a", "b", "c"])
    assert await name_store.forget_expired_names(database, 10) == 0
    await window_passes(database)
    assert await name_store.forget_expired_names(database, 2) == 2
    assert await name_store.forget_expired_names(database, 2) == 1
    assert len(await names(database)) == 2


async def test_overlapping_sets_of_names_in_any_order_do_not_deadlock(
    database: Database, dispatcher: Dispatcher
) -> None:
    """Unsorted, two inserts wait for each other's names; so do a deletion and the ends of tasks."""
    keys = [str(n) for n in range(60)]
    added: list[int] = []

    async def add(order: Sequence[str]) -> None:
        for _ in range(10):
            ids = await dispatcher.add_many(LETTER, [letter(0)] * len(order), dedup_keys=order)
            added.extend(task_id for task_id in ids if task_id is not None)
            await window_passes(database)

    async def delete(order: Sequence[str]) -> None:
        for _ in range(20):
            await dispatcher.delete(LETTER, order)

    async with running(database, dispatcher, Handler.single(LETTER, quiet)) as worker:
        await asyncio.gather(add(keys), add(keys[::-1]), add(keys[30:] + keys[:30]), delete(keys), delete(keys[::-1]))
        await until(lambda: worker.stats.done + worker.stats.deleted == len(added))
    assert len(added) >= 60


async def test_processes_of_the_release_before_get_no_task_with_a_key(
    database: Database, dispatcher: Dispatcher
) -> None:
    """They know nothing of keys: after such a task had ended there, its key would be taken for ever."""
    for key, delay in (("a", None), ("b", timedelta(milliseconds=1))):
        await dispatcher.add(LETTER, letter(1), dedup_key=key, delay=delay)
    plain = await dispatcher.add(LETTER, letter(2))
    strand = strand_of(dispatcher.queue_ids["mail"])
    await worker_store.register_worker(database, 1, timedelta(seconds=60), "test")
    (moved,) = await ready_store.move_in(database, 1, since=BEGINNING, strands=[strand], room=10, most=10)
    assert moved["claimed_by"] == 0
    old = await database.fetch(
        "select id from tq_claim_v1(1, array[$1::int], array[$2::timestamptz], array[10], 10)", strand, BEGINNING
    )
    assert [row["id"] for row in old] == [plain]


async def test_a_named_claim_whose_names_cannot_be_looked_up_is_released(
    database: Database, dispatcher: Dispatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_up = name_store.alive_tasks
    failures = 2

    async def fails_at_first(*args: Any) -> set[int]:
        nonlocal failures
        if failures:
            failures -= 1
            raise errors.Unavailable("away")
        return await looked_up(*args)

    monkeypatch.setattr(name_store, "alive_tasks", fails_at_first)
    added = await dispatcher.add(LETTER, letter(1), dedup_key="a")
    async with running(database, dispatcher, Handler.single(LETTER, quiet)) as worker:
        await until_ended(database, added)
        assert worker.stats.released == 2


async def test_a_dead_process_takes_no_key_with_it(database: Database, dispatcher: Dispatcher) -> None:
    added = await dispatcher.add(LETTER, letter(1), dedup_key="a")
    await database.execute("insert into tq_worker values (77, '2001-01-01', 'gone', ostinato_now())")
    await database.execute("update tq_ready set claimed_by = 77, attempt = 1")
    assert await worker_store.reap(database, [77]) == 1
    assert await dispatcher.add(LETTER, letter(2), dedup_key="a") is None
    async with running(database, dispatcher, Handler.single(LETTER, quiet)):
        await until_ended(database, added)
