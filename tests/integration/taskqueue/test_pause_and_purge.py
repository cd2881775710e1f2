"""Queues that are paused, resumed and purged while they work."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from ostinato.errors import NotFound
from ostinato.storage.database import Database
from ostinato.taskqueue import (
    Dispatcher,
    Handler,
    TaskContext,
    Worker,
    WorkerSettings,
    pause_queue,
    purge_queue,
    queue_stats,
    resume_queue,
)
from tests.integration.taskqueue.conftest import LETTER, STAMP, letter, running, until


class Letters:
    """A handler that notes what starts, and may be held up."""

    def __init__(self) -> None:
        self.started: list[int] = []
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def handle(self, _: TaskContext, payload: Any) -> None:
        self.started.append(payload.job_id)
        await self.go_on.wait()


async def ready_in(db: Database, queue: str) -> int:
    return next(stats.ready for stats in await queue_stats(db) if stats.name == queue)


async def test_a_paused_queue_starts_nothing_until_it_is_resumed(database: Database, dispatcher: Dispatcher) -> None:
    letters = Letters()
    async with running(database, dispatcher, Handler.single(LETTER, letters.handle)) as worker:
        await dispatcher.add(LETTER, letter(0))
        await until(lambda: letters.started == [0])
        paused = await pause_queue(database, "mail")
        assert paused.paused_at is not None
        await dispatcher.add_many(LETTER, [letter(n) for n in range(1, 50)])
        # The worker goes on looking: several claims come back empty.
        await until(lambda: worker.lease_valid)
        await asyncio.sleep(0.3)
        assert letters.started == [0]
        assert (await resume_queue(database, "mail")).paused_at is None
        await until(lambda: len(letters.started) == 50, seconds=3)


async def test_a_pause_stops_one_queue_only(database: Database, dispatcher: Dispatcher) -> None:
    letters, stamps = Letters(), Letters()

    async def stamp(_: TaskContext, __: Any) -> None:
        stamps.started.append(1)

    await pause_queue(database, "mail")
    async with running(database, dispatcher, Handler.single(LETTER, letters.handle), Handler.single(STAMP, stamp)):
        await dispatcher.add(LETTER, letter(1))
        await dispatcher.add(STAMP, STAMP.payload())
        await until(lambda: stamps.started)
    assert letters.started == []
    assert await ready_in(database, "mail") == 1


@pytest.mark.parametrize("listen", [True, False])
async def test_what_was_claimed_in_advance_does_not_start_after_a_pause(
    database: Database, dispatcher: Dispatcher, listen: bool
) -> None:
    """Buffered tasks are released, as if they had never been claimed."""
    letters = Letters()
    letters.go_on.clear()
    narrow = Handler(replace(LETTER, max_running=1), one=letters.handle)
    settings = WorkerSettings(listen=listen, drain_grace=1)
    async with running(database, dispatcher, narrow, settings=settings) as worker:
        await until(lambda: worker.lease_valid)
        await dispatcher.add_many(LETTER, [letter(n) for n in range(3)])
        await until(lambda: letters.started)
        await claim_more(worker, database, 2)
        await pause_queue(database, "mail")
        await until(lambda: worker.stats.released == 2, seconds=4)  # a heartbeat tells who does not listen
        letters.go_on.set()
        await until(lambda: worker.stats.done == 1)
        await asyncio.sleep(0.1)
        assert len(letters.started) == 1
        rows = await database.fetch("select claimed_by, attempt, eta is not null as keeps_its_time from tq_ready")
        assert [tuple(row) for row in rows] == [(0, 0, True)] * 2
        await resume_queue(database, "mail")
        await until(lambda: worker.stats.done == 3)


async def claim_more(worker: Worker, db: Database, count: int) -> None:
    """Makes the worker hold tasks that it can't start yet, as it does of its own accord where tasks end quickly."""
    from ostinato.taskqueue.embedded import ready_store
    from ostinato.taskqueue.embedded.fair_share import BEGINNING

    tasks = worker._incarnation.tasks  # type: ignore[union-attr]
    strands = [row["strand"] for row in await db.fetch("select distinct strand from tq_ready")]
    async with tasks.claiming:
        windows = [(strand, BEGINNING, count) for strand in strands]
        sent_at = asyncio.get_running_loop().time()
        rows = await ready_store.claim(db, worker.worker_id, windows, count)
        assert len(rows) == count
        await tasks.accept(rows, sent_at=sent_at)


async def test_a_process_that_stood_still_looks_before_it_starts_what_it_holds(
    database: Database, dispatcher: Dispatcher
) -> None:
    """Its lease may still hold, but the queue may have been paused meanwhile."""
    letters = Letters()
    letters.go_on.clear()
    narrow = Handler(replace(LETTER, max_running=1), one=letters.handle)
    async with running(database, dispatcher, narrow, settings=WorkerSettings(listen=False, drain_grace=1)) as worker:
        await until(lambda: worker.lease_valid)
        await dispatcher.add_many(LETTER, [letter(n) for n in range(2)])
        await until(lambda: letters.started)
        await claim_more(worker, database, 1)
        incarnation = worker._incarnation
        assert incarnation is not None
        load = incarnation.tasks._queues[dispatcher.queue_ids["mail"]]
        now = asyncio.get_running_loop().time()
        assert load.may_start(now, incarnation.lease)
        # Two seconds later, nothing heard: no heartbeat was answered.
        assert not load.may_start(now + incarnation.lease.pace.pause_within, incarnation.lease)
        assert incarnation.lease.pace.pause_within <= 2.0
        letters.go_on.set()
        await until(lambda: worker.stats.done == 2)


async def test_a_queue_that_was_paused_and_resumed_between_two_heartbeats_is_looked_through_again(
    database: Database, dispatcher: Dispatcher
) -> None:
    """The cursor went past the rows that no claim could take."""
    letters = Letters()
    settings = WorkerSettings(listen=False, drain_grace=1)
    async with running(database, dispatcher, Handler.single(LETTER, letters.handle), settings=settings) as worker:
        await until(lambda: worker.lease_valid)
        await dispatcher.add(LETTER, letter(0))
        await until(lambda: letters.started == [0])
        await database.execute("update tq_queue set paused_at = ostinato_now()")  # unheard of: no new version
        await database.execute(
            "insert into tq_ready (id, ready_at, strand, class_id, payload)"
            " values (5, ostinato_now() - interval '1 hour', $1, $2, $3)",
            dispatcher.queue_ids["mail"] << 9 | 1 << 6,
            dispatcher.class_ids["letter"],
            letter(5).SerializeToString(),
        )
        await asyncio.sleep(0.1)
        await database.execute("update tq_queue set paused_at = null, version = version + 2")
        await until(lambda: letters.started == [0, 5], seconds=4)


async def test_a_purge_deletes_what_waits_and_nothing_that_runs_or_comes_later(
    database: Database, dispatcher: Dispatcher
) -> None:
    letters = Letters()
    letters.go_on.clear()
    async with running(database, dispatcher, Handler(replace(LETTER, max_running=1), one=letters.handle)) as worker:
        await dispatcher.add(LETTER, letter(0))
        await until(lambda: letters.started == [0])
        await dispatcher.add_many(LETTER, [letter(n) for n in range(1, 30)])
        await dispatcher.add_many(LETTER, [letter(n) for n in range(30, 60)], delay=timedelta(hours=1))
        await dispatcher.add(STAMP, STAMP.payload())
        assert await purge_queue(database, "mail") == 59
        await dispatcher.add(LETTER, letter(100))
        await dispatcher.add(LETTER, letter(101), delay=timedelta(milliseconds=20))
        letters.go_on.set()
        await until(lambda: sorted(letters.started) == [0, 100, 101])
        await until(lambda: worker.stats.done == 3)
    assert await ready_in(database, "stamps") == 1


async def test_a_purge_takes_more_than_one_batch(database: Database, dispatcher: Dispatcher) -> None:
    for _ in range(3):
        await dispatcher.add_many(LETTER, [letter(n) for n in range(4000)])
        await dispatcher.add_many(LETTER, [letter(n) for n in range(4000)], delay=timedelta(hours=1))
    assert await purge_queue(database, "mail") == 24_000
    assert await purge_queue(database, "mail") == 0
    assert await database.fetchval("select (select count(*) from tq_ready) + (select count(*) from tq_later)") == 0


async def test_what_is_claimed_but_has_not_started_is_dropped_by_a_purge(
    database: Database, dispatcher: Dispatcher
) -> None:
    letters = Letters()
    letters.go_on.clear()
    narrow = Handler(replace(LETTER, max_running=1), one=letters.handle)
    async with running(database, dispatcher, narrow) as worker:
        await until(lambda: worker.lease_valid)
        await dispatcher.add_many(LETTER, [letter(n) for n in range(3)])
        await until(lambda: letters.started)
        await claim_more(worker, database, 2)
        assert await purge_queue(database, "mail") == 0
        await until(lambda: worker.stats.purged == 2, seconds=4)
        letters.go_on.set()
        await until(lambda: worker.stats.done == 1)
        async with asyncio.timeout(5):
            while await database.fetchval("select count(*) from tq_ready"):
                await asyncio.sleep(0.01)
    assert len(letters.started) == 1


async def test_a_purge_that_was_cut_short_holds_all_the_same(database: Database, dispatcher: Dispatcher) -> None:
    """The mark is its first commit; whoever deletes may die after it."""
    letters = Letters()
    await dispatcher.add(LETTER, letter(1))
    await dispatcher.add(LETTER, letter(2), delay=timedelta(milliseconds=30))
    await database.execute("update tq_queue set purge_before = ostinato_now(), version = version + 1")
    await dispatcher.add(LETTER, letter(3))
    async with running(database, dispatcher, Handler.single(LETTER, letters.handle)):
        await until(lambda: letters.started)
        async with asyncio.timeout(5):
            while await database.fetchval("select (select count(*) from tq_ready) + (select count(*) from tq_later)"):
                await asyncio.sleep(0.01)
    assert letters.started == [3]


async def test_a_task_that_was_released_by_a_pause_does_not_escape_the_purge(
    database: Database, dispatcher: Dispatcher
) -> None:
    """Its release after the purge must not make it look as if it had been added after it."""
    await dispatcher.add(LETTER, letter(1))
    await database.execute("insert into tq_worker values (9, ostinato_now() + interval '1 hour', 'x', ostinato_now())")
    await database.execute("update tq_ready set claimed_by = 9")
    await database.execute("update tq_queue set paused_at = ostinato_now(), purge_before = ostinato_now()")
    await database.execute("delete from tq_worker")
    from ostinato.taskqueue.embedded.worker_store import free_orphans

    assert await free_orphans(database) == 1
    assert await purge_queue(database, "mail") == 1


async def test_queues_that_do_not_exist_are_not_found(database: Database) -> None:
    for change in (pause_queue, resume_queue, purge_queue):
        with pytest.raises(NotFound, match="nowhere"):
            await change(database, "nowhere")
