"""Which of many waiting tasks run first: urgent ones, and those of keys that do not flood."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from ostinato import errors
from ostinato.storage.database import Database
from ostinato.taskqueue import (
    Dispatcher,
    Handler,
    Priority,
    QueueSettings,
    TaskContext,
    WorkerSettings,
    open_dispatcher,
    queue_stats,
)
from ostinato.taskqueue.embedded import ready_store, worker_store
from ostinato.taskqueue.embedded.fair_share import BEGINNING, flood_subqueue
from ostinato.taskqueue.embedded.strand import strand_of, subqueue_of
from tests.integration.taskqueue.conftest import CLASSES, LETTER, PARCEL, STAMP, letter, running, until

FLOOD, QUIET = 11, 22


class Starts:
    """The payloads in the order of their starts."""

    def __init__(self, *, lasting: float = 0.0) -> None:
        self.order: list[int] = []
        self._lasting = lasting

    async def handle(self, _: TaskContext, payload: Any) -> None:
        self.order.append(payload.job_id)
        if self._lasting:
            await asyncio.sleep(self._lasting)


async def add_flood(dispatcher: Dispatcher, count: int) -> None:
    for first in range(0, count, 10_000):
        numbers = range(first, min(count, first + 10_000))
        await dispatcher.add_many(LETTER, [letter(1) for _ in numbers], fair_keys=[FLOOD] * len(numbers))


async def test_a_hundred_thousand_tasks_of_one_key_delay_anothers_by_a_few_claims(
    database: Database, dispatcher: Dispatcher
) -> None:
    starts = Starts()
    await add_flood(dispatcher, 100_000)
    async with running(database, dispatcher, Handler.single(LETTER, starts.handle)):
        for n in range(5):
            await until(lambda n=n: len(starts.order) > n * 10_000)
            before = len(starts.order)
            await dispatcher.add(LETTER, letter(2), fair_key=QUIET)
            await until(lambda n=n: starts.order.count(2) > n)
            # What was claimed in advance, and at most two more claims of a thousand.
            assert starts.order.index(2, before) - before <= 4000
        assert len(starts.order) < 100_000


async def test_with_slow_handlers_too_the_quiet_keys_tasks_run_next(database: Database, dispatcher: Dispatcher) -> None:
    starts = Starts(lasting=0.005)
    await add_flood(dispatcher, 3000)
    slow = Handler(replace(LETTER, max_running=4), one=starts.handle)
    async with running(database, dispatcher, slow):
        await until(lambda: len(starts.order) >= 100)  # more than the flood's burst, which is in everybody's line
        for n in range(10):
            before = len(starts.order)
            await dispatcher.add(LETTER, letter(2), fair_key=QUIET)
            await until(lambda n=n: starts.order.count(2) > n)
            assert starts.order.index(2, before) - before <= 60


async def crowd_the_shared_line(db: Database, key: int, number: int, count: int) -> None:
    """As a key does that adds slowly for long, or through many processes: nothing of it is diverted."""
    for _ in range(count // 64):
        async with open_dispatcher(db, classes=CLASSES) as adder:
            await adder.add_many(LETTER, [letter(number)] * 64, fair_keys=[key] * 64)
    assert {subqueue_of(row["strand"]) for row in await db.fetch("select distinct strand from tq_ready")} == {0}


async def test_a_key_whose_tasks_take_long_does_not_hold_up_others_although_it_adds_slowly(
    database: Database, dispatcher: Dispatcher
) -> None:
    """Below the rate of a flood nothing is diverted, and its backlog grew before everybody else."""
    starts = Starts(lasting=0.05)
    await crowd_the_shared_line(database, FLOOD, 1, 1280)
    await dispatcher.add(LETTER, letter(2), fair_key=QUIET)
    slow = Handler(replace(LETTER, max_running=4), one=starts.handle)
    async with running(database, dispatcher, slow):
        await until(lambda: 2 in starts.order, seconds=20)
        assert starts.order.index(2) <= 200
        await until(lambda: starts.order.count(1) > 100)  # what was put aside goes on meanwhile


@pytest.mark.parametrize(
    "limit", [QueueSettings("mail", max_concurrent=4), QueueSettings("mail", max_rate=80, burst=4)]
)
async def test_a_key_does_not_hold_up_others_where_a_limit_does(database: Database, limit: QueueSettings) -> None:
    starts = Starts(lasting=0.05)
    await crowd_the_shared_line(database, FLOOD, 1, 1280)
    async with open_dispatcher(database, classes=CLASSES, queues=[limit]) as dispatcher:
        await dispatcher.add(LETTER, letter(2), fair_key=QUIET)
        async with running(database, dispatcher, Handler.single(LETTER, starts.handle)):
            await until(lambda: 2 in starts.order, seconds=20)
    assert starts.order.index(2) <= 200


async def test_what_is_put_aside_keeps_its_time_and_only_what_waits_is_put_aside(
    database: Database, dispatcher: Dispatcher
) -> None:
    await dispatcher.add_many(LETTER, [letter(n) for n in range(90)], fair_keys=[FLOOD] * 30 + [QUIET] * 20 + [0] * 40)
    claimed = [row["id"] for row in await database.fetch("select id from tq_ready order by id limit 5")]
    await worker_store.register_worker(database, 9, timedelta(seconds=60), "test")
    await database.execute("update tq_ready set claimed_by = 9 where id = any($1)", claimed)
    before = {row["id"]: row["ready_at"] for row in await database.fetch("select id, ready_at from tq_ready")}
    strand = strand_of(dispatcher.queue_ids["mail"])
    assert len(await ready_store.put_aside(database, strand, since=BEGINNING, looks=1000, keep=16)) == 2
    rows = await database.fetch("select id, fair_key, strand, eta, claimed_by from tq_ready order by id")
    aside = [row for row in rows if row["strand"] != strand]
    assert [row["fair_key"] for row in aside] == [FLOOD] * 9 + [QUIET] * 4
    assert {row["strand"] for row in aside} == {strand + flood_subqueue(key) for key in (FLOOD, QUIET)}
    assert all(row["eta"] == before[row["id"]] and row["claimed_by"] == 0 for row in aside)


async def test_putting_aside_waits_for_nobody_and_takes_nothing_from_a_claim(
    database: Database, dispatcher: Dispatcher
) -> None:
    await dispatcher.add_many(LETTER, [letter(n) for n in range(40)], fair_keys=[FLOOD] * 40)
    strand = strand_of(dispatcher.queue_ids["mail"])
    await worker_store.register_worker(database, 1, timedelta(seconds=60), "test")
    async with database.transaction() as tx:
        assert len(await ready_store.claim(tx, 1, [(strand, BEGINNING, 30)], 30)) == 30
        await ready_store.put_aside(database, strand, since=BEGINNING, looks=1000, keep=0)
    rows = await database.fetch("select strand, claimed_by from tq_ready order by id")
    assert [(row["strand"] == strand, row["claimed_by"]) for row in rows] == [(True, 1)] * 30 + [(False, 0)] * 10


async def test_floods_share_what_the_others_leave(database: Database, dispatcher: Dispatcher) -> None:
    starts = Starts(lasting=0.002)
    for key in (1, 2, 3):
        await dispatcher.add_many(LETTER, [letter(key) for _ in range(1000)], fair_keys=[key] * 1000)
    async with running(database, dispatcher, Handler(replace(LETTER, max_running=10), one=starts.handle)):
        await until(lambda: len(starts.order) >= 900, seconds=20)
    served = starts.order[3 * 64 : 900]
    counts = [served.count(key) for key in (1, 2, 3)]
    assert min(counts) > 0.5 * max(counts)


@pytest.mark.parametrize("listen", [True, False])
async def test_a_worker_finds_strands_that_nobody_told_it_of(
    database: Database, dispatcher: Dispatcher, listen: bool
) -> None:
    """Added by another process, without any wake-up."""
    starts = Starts()
    settings = WorkerSettings(listen=listen, drain_grace=1)
    async with (
        open_dispatcher(database, classes=CLASSES, notify=False) as silent,
        running(database, dispatcher, Handler.single(LETTER, starts.handle), settings=settings) as worker,
    ):
        await until(lambda: worker.lease_valid)
        await silent.add(LETTER, letter(1), priority=Priority.IDLE)
        await until(lambda: starts.order == [1], seconds=3)
        await silent.add_many(LETTER, [letter(2) for _ in range(100)], fair_keys=[FLOOD] * 100)
        await until(lambda: starts.order.count(2) == 100, seconds=3)


async def test_more_urgent_tasks_are_claimed_first_whenever_they_came(
    database: Database, dispatcher: Dispatcher
) -> None:
    starts = Starts(lasting=0.001)
    for priority in (Priority.IDLE, Priority.LOW, Priority.NORMAL, Priority.URGENT):
        await dispatcher.add_many(LETTER, [letter(priority) for _ in range(30)], priority=priority)
    async with running(database, dispatcher, Handler(replace(LETTER, max_running=1), one=starts.handle)):
        await until(lambda: len(starts.order) == 120, seconds=20)
    # A few may have been claimed in advance when something more urgent was found.
    first_of = {priority: starts.order.index(priority) for priority in Priority}
    last_of = {priority: 119 - starts.order[::-1].index(priority) for priority in Priority}
    for priority in (Priority.URGENT, Priority.NORMAL, Priority.LOW):
        assert last_of[priority] <= first_of[Priority(priority + 1)] + 10


async def test_an_urgent_task_does_not_wait_for_a_backlog(database: Database, dispatcher: Dispatcher) -> None:
    starts = Starts()
    await dispatcher.add_many(LETTER, [letter(1) for _ in range(30_000)])
    async with running(database, dispatcher, Handler.single(LETTER, starts.handle)):
        await until(lambda: len(starts.order) > 1000)
        before = len(starts.order)
        await dispatcher.add(LETTER, letter(2), priority=Priority.URGENT)
        await until(lambda: 2 in starts.order)
        assert starts.order.index(2) - before <= 4000


async def test_a_class_has_a_priority_and_an_add_may_have_another(database: Database) -> None:
    urgent = replace(LETTER, priority=Priority.URGENT)
    async with open_dispatcher(database, classes=(urgent, PARCEL, STAMP)) as dispatcher:
        await dispatcher.add(urgent, letter(1))
        await dispatcher.add(urgent, letter(2), priority=Priority.LOW)
        queue = dispatcher.queue_ids["mail"]
    rows = await database.fetch("select strand from tq_ready order by ready_at")
    assert [row["strand"] for row in rows] == [
        strand_of(queue, priority=band) for band in (Priority.URGENT, Priority.LOW)
    ]


async def test_retries_and_releases_keep_their_priority(database: Database, dispatcher: Dispatcher) -> None:
    attempts: list[int] = []

    async def handle(task: TaskContext, _: Any) -> None:
        attempts.append(task.strand)
        if len(attempts) < 3:
            raise errors.RetryLater("again", delay=timedelta(milliseconds=5))

    async with running(database, dispatcher, Handler.single(LETTER, handle)):
        await dispatcher.add(LETTER, letter(1), priority=Priority.LOW)
        await until(lambda: len(attempts) == 3)
    assert {strand >> 6 & 7 for strand in attempts} == {Priority.LOW}


async def test_a_flood_that_fails_comes_back_as_a_flood(database: Database, dispatcher: Dispatcher) -> None:
    """Retries of thousands would otherwise queue in everybody's line."""

    async def handle(_: TaskContext, __: Any) -> None:
        raise errors.RetryLater("not now", delay=timedelta(hours=1))

    await dispatcher.add_many(LETTER, [letter(1)] * 200, fair_keys=[FLOOD] * 200)
    async with running(database, dispatcher, Handler.single(LETTER, handle)):
        async with asyncio.timeout(10):
            while (await queue_stats(database))[0].later < 200:
                await asyncio.sleep(0.01)
    rows = await database.fetch("select strand from tq_later")
    assert sum(1 for row in rows if subqueue_of(row["strand"]) == 0) <= 64


async def test_adds_in_a_transaction_are_diverted_too(database: Database, dispatcher: Dispatcher) -> None:
    async with database.transaction() as tx:
        ids = await dispatcher.add_many(LETTER, [letter(n) for n in range(100)], tx=tx, fair_keys=[FLOOD, QUIET] * 50)
        ids += [await dispatcher.add(LETTER, letter(n), tx=tx, fair_key=FLOOD) for n in range(100, 120)]
    rows = await database.fetch("select id, strand, fair_key from tq_ready order by id")
    assert sorted(ids) == [row["id"] for row in rows]
    diverted = [row["fair_key"] for row in rows if subqueue_of(row["strand"]) != 0]
    assert diverted == [FLOOD] * 6
