"""Claim, run, complete, retry, bury: the life of a task in a worker."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ostinato import errors
from ostinato.pb.internal.v1.engine_tasks_pb2 import HandleNotificationTask, LaunchInvocationTask
from ostinato.storage.database import Database
from ostinato.taskqueue import (
    Dispatcher,
    Handler,
    Outcome,
    TaskContext,
    Worker,
    WorkerSettings,
    complete_many_in,
    list_dead_letters,
    purge_old_dead_letters,
    queue_stats,
)
from ostinato.taskqueue.embedded.strand import strand_of
from ostinato.taskqueue.task_header import TaskHeader, decode_header
from ostinato.taskqueue.wake_up import CHANNEL
from ostinato.telemetry.tracing import current_traceparent, use_traceparent
from tests.integration.taskqueue.conftest import LETTER, PARCEL, STAMP, letter, running, until

_AHEAD = "select extract(epoch from due_at - ostinato_now())::float8 from tq_later"


async def left(db: Database) -> int:
    return await db.fetchval("select (select count(*) from tq_ready) + (select count(*) from tq_later)")


async def until_empty(db: Database) -> None:
    async with asyncio.timeout(10):
        while await left(db):
            await asyncio.sleep(0.01)


async def test_every_task_runs_and_leaves_the_table(database: Database, dispatcher: Dispatcher) -> None:
    seen: list[int] = []

    async def handle(_: TaskContext, payload: Any) -> None:
        seen.append(payload.job_id)

    async with running(database, dispatcher, Handler.single(LETTER, handle)):
        await dispatcher.add_many(LETTER, [letter(n) for n in range(3000)])
        await until_empty(database)
    assert sorted(seen) == list(range(3000))


async def test_a_batch_handler_gets_many_and_answers_for_each(database: Database, dispatcher: Dispatcher) -> None:
    sizes: list[int] = []
    rounds: dict[int, int] = {}

    async def handle_many(tasks: Sequence[TaskContext]) -> Sequence[Outcome | None]:
        sizes.append(len(tasks))
        for task in tasks:
            rounds[task.payload.job_id] = rounds.get(task.payload.job_id, 0) + 1
        return [Outcome.again() if rounds[task.payload.job_id] == 1 else None for task in tasks]

    await dispatcher.add_many(LETTER, [letter(n) for n in range(200)])
    async with running(database, dispatcher, Handler.batch(LETTER, handle_many)):
        await until_empty(database)
    assert max(sizes) > 10
    assert set(rounds.values()) == {2}  # `again` came back to this process, once, without a new claim


async def test_a_failing_batch_is_run_one_by_one_so_that_one_task_harms_itself_only(
    database: Database, dispatcher: Dispatcher
) -> None:
    done: set[int] = set()

    async def handle_many(tasks: Sequence[TaskContext]) -> Sequence[Outcome | None]:
        if any(task.payload.job_id == 7 for task in tasks):
            raise RuntimeError("poison")
        done.update(task.payload.job_id for task in tasks)
        return [None] * len(tasks)

    await dispatcher.add_many(LETTER, [letter(n) for n in range(20)])
    async with running(database, dispatcher, Handler.batch(LETTER, handle_many)):
        await until(lambda: len(done) == 19)
        async with asyncio.timeout(10):
            while not (dead := await list_dead_letters(database)):
                await asyncio.sleep(0.01)
    assert [(d.queue, d.class_name, d.attempts, d.error) for d in dead] == [
        ("mail", "letter", 3, "RuntimeError: poison")
    ]
    assert done == set(range(20)) - {7}


async def test_a_dead_letter_is_requeued_with_fresh_attempts(database: Database, dispatcher: Dispatcher) -> None:
    attempts: list[int] = []
    broken = True

    async def handle(task: TaskContext, _: Any) -> None:
        attempts.append(task.failures)
        if broken:
            raise errors.Fatal("never")

    task_id = await dispatcher.add(LETTER, letter(1))
    async with running(database, dispatcher, Handler.single(LETTER, handle)):
        async with asyncio.timeout(10):
            while not await list_dead_letters(database, queue="mail"):
                await asyncio.sleep(0.01)
        assert attempts == [0]  # fatal: not tried again
        broken = False
        assert await dispatcher.requeue_dead_letters([task_id, 999]) == 1
        await until(lambda: attempts == [0, 0])
        await until_empty(database)
    assert await list_dead_letters(database) == []


async def test_dead_letters_are_counted_up_to_a_bound_and_purged_in_batches(
    database: Database, dispatcher: Dispatcher
) -> None:
    await database.execute(
        "insert into tq_dead (id, died_at, strand, fair_key, class_id, attempt, failures, flags, error, payload)"
        " select n, ostinato_now(), $1 << 9, 0, 1, 1, 1, 0, '', '' from generate_series(1, 10500) n",
        dispatcher.queue_ids["mail"],
    )
    assert {stats.name: stats.dead for stats in await queue_stats(database)} == {"mail": 10_000, "stamps": 0}
    assert await purge_old_dead_letters(database, queue="stamps") == 0
    assert await purge_old_dead_letters(database, queue="mail") == 10_500


async def test_a_requeued_dead_letter_stays_in_its_trace_and_workers_are_told(
    database: Database, dispatcher: Dispatcher
) -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()
    task_id = await dispatcher.add(LETTER, letter(1))
    header = TaskHeader("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", datetime(2030, 1, 1, tzinfo=UTC))
    await database.execute(
        """
        with gone as (delete from tq_ready returning *)
        insert into tq_dead (id, died_at, strand, fair_key, class_id, attempt, failures, flags, error, payload, header)
        select id, ready_at, strand, fair_key, class_id, 9, 9, 0, 'no handler', payload, $1 from gone
        """,
        header.encode(),
    )
    async with database.side_connection() as listener:
        await listener.add_listener(CHANNEL, lambda *told: heard.put_nowait(str(told[-1])))
        assert await dispatcher.requeue_dead_letters([task_id]) == 1
        async with asyncio.timeout(5):
            told = await heard.get()
    row = await database.fetchrow("select strand, header from tq_ready")
    assert row is not None
    assert told == str(row["strand"])
    assert decode_header(row["header"]) == TaskHeader(header.traceparent)  # its hour without a handler begins anew


async def test_overloaded_gives_its_queue_a_break_and_nobody_else(database: Database, dispatcher: Dispatcher) -> None:
    """The task came back only when twice the time of the break was over."""
    starts: list[tuple[int, int]] = []
    stamps: list[int] = []

    async def handle(task: TaskContext, payload: Any) -> None:
        starts.append((payload.job_id, task.failures))
        if len(starts) == 1:
            raise errors.Overloaded("slow down")

    async def handle_stamp(task: TaskContext, _: Any) -> None:
        stamps.append(task.id)

    handlers = Handler.single(LETTER, handle), Handler.single(STAMP, handle_stamp)
    async with running(database, dispatcher, *handlers) as worker:
        await dispatcher.add(LETTER, letter(1))
        await until(lambda: starts)
        async with asyncio.timeout(5):
            while (ahead := await database.fetchval(_AHEAD)) is None:
                await asyncio.sleep(0.005)
        await dispatcher.add(LETTER, letter(2))
        await dispatcher.add(STAMP, HandleNotificationTask())
        await until(lambda: stamps)
        assert starts == [(1, 0)]
        assert ahead <= 1
        await until(lambda: len(starts) == 3)
        assert sorted(starts[1:]) == [(1, 0), (2, 0)]
        await until(lambda: worker.stats.done == 3)


async def test_an_error_that_is_no_text_is_buried_all_the_same(database: Database, dispatcher: Dispatcher) -> None:
    """It could not be written, so its task ran again every fifteen seconds, for ever."""

    async def handle(_: TaskContext, __: Any) -> None:
        raise errors.Fatal("a file called \udcff\0")

    await dispatcher.add(LETTER, letter(1))
    async with running(database, dispatcher, Handler.single(LETTER, handle)) as worker:
        await until(lambda: worker.stats.dead == 1)
    (dead,) = await list_dead_letters(database)
    assert dead.error == "Fatal: a file called ?"


async def test_retry_later_waits_and_uses_up_no_attempt(database: Database, dispatcher: Dispatcher) -> None:
    failures: list[int] = []

    async def handle(task: TaskContext, _: Any) -> None:
        failures.append(task.failures)
        if len(failures) < 6:  # more often than the class has attempts
            raise errors.RetryLater("not yet", delay=timedelta(milliseconds=10))

    await dispatcher.add(LETTER, letter(1))
    async with running(database, dispatcher, Handler.single(LETTER, handle)):
        await until_empty(database)
    assert failures == [0] * 6


async def test_a_task_that_was_claimed_too_often_to_count_harms_nobody(
    database: Database, dispatcher: Dispatcher
) -> None:
    """An overflow of its count failed every claim, and with it every other task of the process."""
    seen: set[int] = set()

    async def handle(_: TaskContext, payload: Any) -> None:
        seen.add(payload.job_id)

    ids = [await dispatcher.add(LETTER, letter(n)) for n in range(2)]
    await dispatcher.add(LETTER, letter(2), delay=timedelta(milliseconds=1))
    await database.execute("update tq_ready set attempt = 32767 where id = $1", ids[0])
    await database.execute("update tq_later set attempt = 32767")
    async with running(database, dispatcher, Handler.single(LETTER, handle)):
        await until(lambda: seen == {0, 1, 2})


async def test_what_came_due_during_an_outage_is_moved_in_without_a_pause(
    database: Database, dispatcher: Dispatcher
) -> None:
    """After the first thousand it went on with what was due for a minute at most, and with the others every 15 s."""
    seen: set[int] = set()

    async def handle(_: TaskContext, payload: Any) -> None:
        seen.add(payload.job_id)

    await dispatcher.add_many(LETTER, [letter(n) for n in range(1500)], delay=timedelta(hours=1))
    await database.execute("update tq_later set due_at = ostinato_now() - interval '10 minutes'")
    async with running(database, dispatcher, Handler.single(LETTER, handle)):
        await until(lambda: len(seen) == 1500)


async def test_ignored_tasks_vanish_quietly(database: Database, dispatcher: Dispatcher) -> None:
    async def handle(_: TaskContext, __: Any) -> None:
        raise errors.Ignore("not for us")

    await dispatcher.add(LETTER, letter(1))
    async with running(database, dispatcher, Handler.single(LETTER, handle)):
        await until_empty(database)
    assert await list_dead_letters(database) == []


async def test_completing_in_the_handlers_transaction_is_all_or_nothing(
    database: Database, dispatcher: Dispatcher
) -> None:
    await database.execute("create table effect (job_id bigint)")
    first = True

    async def handle_many(tasks: Sequence[TaskContext]) -> Sequence[Outcome | None]:
        nonlocal first
        async with database.transaction() as tx:
            for task in tasks:
                await tx.execute("insert into effect values ($1)", task.payload.job_id)
            await complete_many_in(tx, tasks)
            if first:
                first = False
                raise RuntimeError("after the delete, before the commit")
        return [None] * len(tasks)

    await dispatcher.add_many(LETTER, [letter(n) for n in range(5)])
    async with running(database, dispatcher, Handler.batch(LETTER, handle_many)) as worker:
        await until_empty(database)
        await until(lambda: worker.stats.done == 5)
    assert await database.fetchval("select count(*) from effect") == 5


async def test_a_stolen_task_is_rejected_with_its_effects(database: Database, dispatcher: Dispatcher) -> None:
    await database.execute("create table effect (job_id bigint)")
    results: list[str] = []

    async def handle(task: TaskContext, payload: Any) -> None:
        if task.attempt == 1:  # a reaper takes it away meanwhile
            await database.execute(
                "update tq_ready set claimed_by = 0, strand = strand | 63, ready_at = ostinato_now()"
            )
        try:
            async with database.transaction() as tx:
                await tx.execute("insert into effect values ($1)", payload.job_id)
                await task.complete_in(tx)
            results.append("done")
        except errors.StaleLease:
            results.append("stale")
            raise

    await dispatcher.add(LETTER, letter(1))
    async with running(database, dispatcher, Handler.single(LETTER, handle)) as worker:
        await until(lambda: results == ["stale", "done"])
        await until_empty(database)
        assert worker.stats.rejected == 1
    assert await database.fetchval("select count(*) from effect") == 1


async def test_a_task_claimed_again_beside_its_older_run_runs_as_soon_as_that_has_ended(
    database: Database, dispatcher: Dispatcher
) -> None:
    """The newer claim used to lie until the next rescue, up to fifteen seconds."""
    attempts: list[int] = []
    worker_box: list[Worker] = []

    async def handle(task: TaskContext, _: Any) -> None:
        attempts.append(task.attempt)
        if len(attempts) == 1:
            await database.execute(
                "update tq_ready set claimed_by = 0, strand = strand | 63, ready_at = ostinato_now()"
            )
            await until(lambda: worker_box[0].stats.claimed == 2)

    async with running(database, dispatcher, Handler.single(LETTER, handle)) as worker:
        worker_box.append(worker)
        await dispatcher.add(LETTER, letter(1))
        await until(lambda: len(attempts) == 2, seconds=5)
        await until_empty(database)
        assert worker.stats.rejected == 1


async def test_a_stolen_task_that_ends_by_the_writer_is_rejected_too(
    database: Database, dispatcher: Dispatcher
) -> None:
    attempts: list[int] = []

    async def handle(task: TaskContext, _: Any) -> None:
        attempts.append(task.attempt)
        if task.attempt == 1:
            await database.execute("update tq_ready set claimed_by = 0, ready_at = ostinato_now() + '50 ms'")

    await dispatcher.add(LETTER, letter(1))
    async with running(database, dispatcher, Handler.single(LETTER, handle)) as worker:
        await until(lambda: attempts == [1, 2])
        await until_empty(database)
        assert worker.stats.rejected == 1


async def test_delayed_tasks_run_when_due_and_not_before(database: Database, dispatcher: Dispatcher) -> None:
    early: list[float] = []

    async def handle(task: TaskContext, _: Any) -> None:
        early.append(await database.fetchval("select extract(epoch from $1 - ostinato_now())", task.eta))

    async with running(database, dispatcher, Handler.single(LETTER, handle)):
        await dispatcher.add(LETTER, letter(1), delay=timedelta(milliseconds=300))
        await until(lambda: early)
        await until_empty(database)
    assert -0.5 < early[0] <= 0


@pytest.mark.parametrize("listen", [True, False])
async def test_another_processs_adds_are_found_with_and_without_notifications(
    database: Database, dispatcher: Dispatcher, listen: bool
) -> None:
    ran = asyncio.Event()

    async def handle(_: TaskContext, __: Any) -> None:
        ran.set()

    settings = WorkerSettings(listen=listen, drain_grace=1)
    async with running(database, dispatcher, Handler.single(LETTER, handle), settings=settings) as worker:
        await until(lambda: worker.lease_valid)
        # Straight into the table: no wake-up of any kind.
        await database.execute(
            "insert into tq_ready (id, ready_at, strand, class_id, payload) values (5, ostinato_now(), $1, $2, '')",
            dispatcher.queue_ids["mail"] << 9 | 1 << 6,
            dispatcher.class_ids["letter"],
        )
        async with asyncio.timeout(3):
            await ran.wait()
        await until_empty(database)


async def test_a_commit_later_than_the_cursor_is_found(database: Database, dispatcher: Dispatcher) -> None:
    seen: list[int] = []

    async def handle(_: TaskContext, payload: Any) -> None:
        seen.append(payload.job_id)

    async with running(database, dispatcher, Handler.single(LETTER, handle)):
        async with database.transaction() as slow:
            await slow.execute(
                "insert into tq_ready (id, ready_at, strand, class_id, payload)"
                " values (7, ostinato_now() - interval '2 s', $1, $2, $3)",
                dispatcher.queue_ids["mail"] << 9 | 1 << 6,
                dispatcher.class_ids["letter"],
                letter(7).SerializeToString(),
            )
            for n in range(100, 130):  # others move the cursor past it
                await dispatcher.add(LETTER, letter(n))
            await until(lambda: len(seen) == 30)
        await until(lambda: 7 in seen, seconds=5)
        await until_empty(database)


async def test_the_trace_of_the_adder_is_the_trace_of_the_handler(database: Database, dispatcher: Dispatcher) -> None:
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    seen: list[str | None] = []

    async def handle(task: TaskContext, _: Any) -> None:
        seen.append(current_traceparent())
        assert task.traceparent == seen[-1]

    async with running(database, dispatcher, Handler.single(LETTER, handle)):
        with use_traceparent(trace):
            await dispatcher.add(LETTER, letter(1))
        await dispatcher.add(LETTER, letter(2))
        await until(lambda: len(seen) == 2)
        await until_empty(database)
    assert set(seen) == {trace, None}


async def test_a_task_past_its_deadline_is_cancelled_and_counts_as_failed(
    database: Database, dispatcher: Dispatcher
) -> None:
    from dataclasses import replace

    hasty = replace(LETTER, deadline=timedelta(milliseconds=50))
    attempts: list[int] = []

    async def handle(task: TaskContext, _: Any) -> None:
        attempts.append(task.failures)
        if task.failures == 0:
            await asyncio.Event().wait()

    await dispatcher.add(LETTER, letter(1))
    async with running(database, dispatcher, Handler(hasty, one=handle)):
        await until(lambda: attempts == [0, 1])
        await until_empty(database)


async def test_unknown_classes_and_undecodable_payloads_wait_for_a_newer_process(
    database: Database, dispatcher: Dispatcher
) -> None:
    async def handle(_: TaskContext, __: Any) -> None:
        raise AssertionError("must not be called")

    async with database.transaction() as tx:
        await dispatcher.add(PARCEL, LaunchInvocationTask(), tx=tx)  # same queue, no handler here
    await database.execute(
        "insert into tq_ready (id, ready_at, strand, class_id, payload) values (5, ostinato_now(), $1, $2, '\\xff')",
        dispatcher.queue_ids["mail"] << 9 | 1 << 6,
        dispatcher.class_ids["letter"],
    )
    await database.execute(  # refused for an hour already
        "insert into tq_ready (id, ready_at, eta, strand, class_id, payload)"
        " values (6, ostinato_now(), ostinato_now() - interval '61 minutes', $1, $2, '\\xff')",
        dispatcher.queue_ids["mail"] << 9 | 1 << 6,
        dispatcher.class_ids["letter"],
    )
    async with running(database, dispatcher, Handler.single(LETTER, handle)) as worker:
        await until(lambda: worker.stats.dead == 1 and worker.stats.retried >= 2)
        await worker_writes(database)
    dead = await list_dead_letters(database)
    assert [(d.id, d.error) for d in dead] == [(6, "the payload can't be decoded")]
    waiting = await database.fetch("select failures, header is not null as marked from tq_later")
    assert [(row["failures"], row["marked"]) for row in waiting] == [(0, True), (0, True)]


async def worker_writes(db: Database) -> None:
    async with asyncio.timeout(5):
        while await db.fetchval("select count(*) from tq_ready where claimed_by <> 0"):
            await asyncio.sleep(0.01)


async def test_stats_count_what_people_ask_for(database: Database, dispatcher: Dispatcher) -> None:
    await dispatcher.add_many(LETTER, [letter(1), letter(2)])
    await dispatcher.add(LETTER, letter(3), delay=timedelta(hours=1))
    await dispatcher.add(STAMP, HandleNotificationTask())
    stats = {row.name: row for row in await queue_stats(database)}
    assert (stats["mail"].ready, stats["mail"].later, stats["mail"].claimed, stats["mail"].dead) == (2, 1, 0, 0)
    assert stats["mail"].oldest_ready_at is not None
    assert stats["stamps"].ready == 1


async def test_due_tasks_that_the_process_which_moves_them_has_no_room_for_are_told_to_others(
    database: Database, dispatcher: Dispatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They would wait for the next poll of an idle process, a second, on top of their delay."""
    told: list[frozenset[int]] = []
    started, finish = asyncio.Event(), asyncio.Event()

    async def handle(_: TaskContext, __: Any) -> None:
        started.set()
        await finish.wait()

    monkeypatch.setattr(dispatcher.wake_ups, "tell_others", lambda strands: told.append(frozenset(strands)))
    narrow = Handler(replace(LETTER, max_running=1), one=handle)
    async with running(database, dispatcher, narrow) as worker:
        await dispatcher.add(LETTER, letter(1))
        await started.wait()
        await until(lambda: worker.running == 1)
        told.clear()
        await dispatcher.add(LETTER, letter(2), delay=timedelta(milliseconds=10))
        await until(lambda: told)
        finish.set()
        await until(lambda: worker.stats.done == 2)
    assert told[0] == {strand_of(dispatcher.queue_ids["mail"])}
