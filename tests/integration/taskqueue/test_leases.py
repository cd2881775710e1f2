"""Leases: drain, death, a lost lease, and what is found again."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import urlsplit

import pytest

from ostinato.storage.database import Database, DatabaseSettings, open_database
from ostinato.taskqueue import Dispatcher, Handler, TaskContext, Worker, WorkerSettings, open_dispatcher
from ostinato.taskqueue.embedded import worker_store
from ostinato.taskqueue.embedded.pace import Pace
from ostinato.testing.tcp_proxy import open_tcp_proxy
from tests.integration.ingester.severable_link import open_severable_link
from tests.integration.taskqueue.conftest import LETTER, letter, running, until

_WAITING_FOR_LOCKS = """
select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'
"""


async def test_a_hint_while_every_runner_is_busy_does_not_spin(database: Database, dispatcher: Dispatcher) -> None:
    """A wake-up that nobody has room for once stayed set, and the claim loop took the whole event loop."""
    from dataclasses import replace

    started, finish = asyncio.Event(), asyncio.Event()

    async def handle(_: TaskContext, __: Any) -> None:
        started.set()
        await finish.wait()

    narrow = replace(LETTER, max_running=1)
    async with running(database, dispatcher, Handler(narrow, one=handle)) as worker:
        await dispatcher.add(LETTER, letter(1))
        await started.wait()
        await dispatcher.add(LETTER, letter(2))
        for _ in range(20):
            await asyncio.sleep(0.001)
        finish.set()
        await until(lambda: worker.stats.done == 2)


async def test_draining_waits_for_what_runs_and_releases_what_does_not(
    database: Database, dispatcher: Dispatcher
) -> None:
    started, finish = asyncio.Event(), asyncio.Event()
    done: list[int] = []

    async def handle(_: TaskContext, payload: Any) -> None:
        started.set()
        await finish.wait()
        done.append(payload.job_id)

    from dataclasses import replace

    narrow = replace(LETTER, max_running=1)
    worker = Worker(database, dispatcher, [Handler(narrow, one=handle)], settings=WorkerSettings(drain_grace=5))
    run = asyncio.ensure_future(worker.run())
    await dispatcher.add(LETTER, letter(1))
    await started.wait()
    worker.drain()
    await dispatcher.add(LETTER, letter(2))
    finish.set()
    await run
    assert done == [1]
    rows = await database.fetch("select claimed_by from tq_ready")
    assert [row["claimed_by"] for row in rows] == [0]
    assert await database.fetchval("select count(*) from tq_worker") == 0


async def test_draining_before_the_first_lease_ends_at_once(database: Database, dispatcher: Dispatcher) -> None:
    async def handle(_: TaskContext, __: Any) -> None:
        raise AssertionError("nothing may start")

    worker = Worker(database, dispatcher, [Handler.single(LETTER, handle)])
    run = asyncio.ensure_future(worker.run())
    await asyncio.sleep(0)  # it is taking its lease now
    worker.drain()
    async with asyncio.timeout(5):
        await run
    assert await database.fetchval("select count(*) from tq_worker") == 0


async def test_a_handler_interrupted_by_the_end_of_the_grace_is_released_without_an_attempt(
    database: Database, dispatcher: Dispatcher
) -> None:
    started = asyncio.Event()

    async def handle(_: TaskContext, __: Any) -> None:
        started.set()
        await asyncio.Event().wait()

    async with running(database, dispatcher, Handler.single(LETTER, handle), settings=WorkerSettings(drain_grace=0.05)):
        await dispatcher.add(LETTER, letter(1))
        await started.wait()
    row = await database.fetchrow("select claimed_by, attempt, failures from tq_ready")
    assert row is not None
    assert tuple(row) == (0, 0, 0)


async def test_a_drain_while_the_database_is_away_ends_with_the_lease(database: Database) -> None:
    """It waited for the ends of tasks to be written, and so for the database, for ever."""
    started, finish = asyncio.Event(), asyncio.Event()

    async def handle(_: TaskContext, __: Any) -> None:
        started.set()
        await finish.wait()

    server = urlsplit(database.settings.url)
    async with open_severable_link((server.hostname or "", server.port or 5432)) as link:
        login = server.netloc.rpartition("@")[0]
        url = server._replace(netloc=f"{login}@127.0.0.1:{link.port}").geturl()
        async with open_database(DatabaseSettings(url)) as far, open_dispatcher(far, classes=[LETTER]) as dispatcher:
            pace = Pace(lease=2.0, beat_every=0.2)
            settings = WorkerSettings(pace=pace, drain_grace=5)
            worker = Worker(far, dispatcher, [Handler.single(LETTER, handle)], settings=settings)
            run = asyncio.ensure_future(worker.run())
            await dispatcher.add(LETTER, letter(1))
            await started.wait()
            worker.drain()
            await link.cut()
            finish.set()
            async with asyncio.timeout(10):
                await run
    assert await database.fetchval("select count(*) from tq_ready") == 1


@pytest.mark.parametrize("lease", ["held", "lost"])
async def test_a_drain_while_the_database_is_out_of_reach_is_not_held_up(database: Database, lease: str) -> None:
    """A claim or the next lease was waited for until the driver gave up, over half a minute later."""
    async with (
        open_tcp_proxy(database.settings.url) as proxy,
        open_database(DatabaseSettings(proxy.url(database.settings.url))) as far,
        open_dispatcher(far, classes=[LETTER]) as dispatcher,
    ):
        pace = Pace(lease=1.0, beat_every=0.2)
        worker = Worker(far, dispatcher, [], settings=WorkerSettings(pace=pace, drain_grace=1))
        run = asyncio.ensure_future(worker.run())
        await until(lambda: worker.lease_valid)
        proxy.black_hole()
        if lease == "lost":
            await until(lambda: not worker.worker_id)
        worker.drain()
        async with asyncio.timeout(15):
            await run


async def test_a_slow_reaping_is_not_begun_again_by_every_heartbeat(database: Database, dispatcher: Dispatcher) -> None:
    """Each waits for the first one's locks on a connection of its own, until the pool has none left."""
    reapings = 0
    pace = Pace(lease=2.0, beat_every=0.03)
    async with running(database, dispatcher, settings=WorkerSettings(pace=pace, drain_grace=1)) as worker:
        await until(lambda: worker.worker_id)
        async with database.transaction() as tx:
            await database.execute("insert into tq_worker values (77, '2001-01-01', 'gone', ostinato_now())")
            await tx.execute("select from tq_worker where worker_id = 77 for update")
            async with asyncio.timeout(5):
                for _ in range(20):
                    await asyncio.sleep(0.03)
                    reapings = max(reapings, await database.fetchval(_WAITING_FOR_LOCKS))
    assert reapings == 1


async def test_tasks_of_a_dead_process_run_again_elsewhere(database: Database, dispatcher: Dispatcher) -> None:
    seen: list[int] = []

    async def handle(task: TaskContext, _: Any) -> None:
        seen.append(task.attempt)

    await dispatcher.add(LETTER, letter(1))
    await database.execute(
        "insert into tq_worker values (77, ostinato_now() - interval '1 second', 'gone', ostinato_now())"
    )
    await database.execute("update tq_ready set claimed_by = 77, attempt = 1")
    async with running(database, dispatcher, Handler.single(LETTER, handle)) as worker:
        await until(lambda: seen == [2], seconds=10)
        assert worker.stats.reaped == 1
    assert await database.fetchval("select count(*) from tq_worker") == 0


async def test_a_lost_lease_begins_a_new_incarnation_and_the_old_one_is_fenced(
    database: Database, dispatcher: Dispatcher
) -> None:
    started = asyncio.Event()
    attempts: list[int] = []

    async def handle(task: TaskContext, _: Any) -> None:
        attempts.append(task.attempt)
        if task.attempt == 1:
            started.set()
            await asyncio.Event().wait()  # until the lost lease interrupts it

    await dispatcher.add(LETTER, letter(1))
    async with running(database, dispatcher, Handler.single(LETTER, handle)) as worker:
        await started.wait()
        first = worker.worker_id
        # Another process saw us as dead: what a stall longer than the lease looks like.
        await database.execute("update tq_worker set expires_at = ostinato_now() - interval '1 second'")
        assert await worker_store.reap(database, [first]) == 1
        await until(lambda: attempts == [1, 2], seconds=10)
        assert worker.worker_id != first
    assert await database.fetchval("select count(*) from tq_ready") == 0


async def test_an_expired_worker_claims_nothing(database: Database, dispatcher: Dispatcher) -> None:
    from ostinato.taskqueue.embedded import ready_store
    from ostinato.taskqueue.embedded.fair_share import BEGINNING

    await dispatcher.add(LETTER, letter(1))
    strand = await database.fetchval("select strand from tq_ready")
    await database.execute("insert into tq_worker values (5, ostinato_now() - interval '1 s', 'h', ostinato_now())")
    assert await ready_store.claim(database, 5, [(strand, BEGINNING, 10)], 10) == []
    await database.execute("update tq_worker set expires_at = ostinato_now() + interval '5 s'")
    await database.execute("update tq_queue set paused_at = ostinato_now()")
    assert await ready_store.claim(database, 5, [(strand, BEGINNING, 10)], 10) == []
    await database.execute("update tq_queue set paused_at = null")
    assert len(await ready_store.claim(database, 5, [(strand, BEGINNING, 10)], 10)) == 1


async def test_rows_without_an_owner_are_freed(database: Database, dispatcher: Dispatcher) -> None:
    ids = await dispatcher.add_many(LETTER, [letter(n) for n in range(4)])
    await database.execute("insert into tq_worker values (5, ostinato_now() + interval '1 m', 'h', ostinato_now())")
    await database.execute("update tq_ready set claimed_by = 99 where id = $1", ids[0])  # nobody has this id
    await database.execute("update tq_ready set claimed_by = 5 where id = any($1)", ids[1:3])
    assert await worker_store.free_orphans(database) == 1
    assert await worker_store.free_unknown(database, 5, [ids[1]]) == 1  # the answer to that claim was lost
    owners = dict(await database.fetch("select id, claimed_by from tq_ready"))
    assert owners == {ids[0]: 0, ids[1]: 5, ids[2]: 0, ids[3]: 0}


async def test_four_workers_share_a_backlog_and_run_nothing_twice(database: Database, dispatcher: Dispatcher) -> None:
    seen: list[int] = []

    async def handle(_: TaskContext, payload: Any) -> None:
        seen.append(payload.job_id)
        await asyncio.sleep(0)

    await dispatcher.add_many(LETTER, [letter(n) for n in range(4000)])
    async with (
        running(database, dispatcher, Handler.single(LETTER, handle)),
        running(database, dispatcher, Handler.single(LETTER, handle)),
        running(database, dispatcher, Handler.single(LETTER, handle)),
        running(database, dispatcher, Handler.single(LETTER, handle)),
    ):
        await until(lambda: len(seen) >= 4000, seconds=20)
    assert sorted(seen) == list(range(4000))
    assert await database.fetchval("select count(*) from tq_ready") == 0


async def test_a_claim_takes_exactly_its_room_and_no_locks_beyond(database: Database, dispatcher: Dispatcher) -> None:
    from ostinato.taskqueue.embedded import ready_store
    from ostinato.taskqueue.embedded.fair_share import BEGINNING

    await dispatcher.add_many(LETTER, [letter(n) for n in range(100)])
    strand = await database.fetchval("select min(strand) from tq_ready")
    for worker in (1, 2):
        await database.execute(
            "insert into tq_worker values ($1, ostinato_now() + interval '1 m', 'h', ostinato_now())", worker
        )
    async with database.transaction() as one, database.transaction() as two:
        first = await ready_store.claim(one, 1, [(strand, BEGINNING, 100)], 30)
        second = await ready_store.claim(two, 2, [(strand, BEGINNING, 100)], 100)
        assert (len(first), len(second)) == (30, 70)
        assert {row[1] for row in first}.isdisjoint(row[1] for row in second)


async def test_claims_use_the_index_whatever_the_statistics_say(database: Database, dispatcher: Dispatcher) -> None:
    """A table that was empty when it was analysed must not make later claims sort the whole backlog."""
    await database.execute("vacuum analyze tq_ready")
    await dispatcher.add_many(LETTER, [letter(n) for n in range(20_000)])
    strand = await database.fetchval("select min(strand) from tq_ready")
    await database.execute("insert into tq_worker values (1, ostinato_now() + interval '1 m', 'h', ostinato_now())")
    async with database.transaction() as tx:
        await _claim_buffers(tx, strand)  # the first call in a connection plans and reads the catalog
        before = await tx.fetchval("select coalesce(sum(n_tup_upd), 0) from pg_stat_xact_user_tables")
        blocks = await _claim_buffers(tx, strand)
        after = await tx.fetchval("select coalesce(sum(n_tup_upd), 0) from pg_stat_xact_user_tables")
    assert after - before == 10
    assert blocks < 150  # reading the backlog would be more than 500 pages


async def _claim_buffers(tx: Any, strand: int) -> int:
    import json

    plan = await tx.fetchval(
        "explain (analyze, buffers, format json)"
        " select * from tq_claim_v1(1, $1::int[], array['2000-01-01'::timestamptz], array[10], 10)".replace(
            "$1::int[]", f"array[{strand}]"
        )
    )
    (root,) = json.loads(plan) if isinstance(plan, str) else plan
    return int(root["Plan"]["Shared Hit Blocks"] + root["Plan"]["Shared Read Blocks"])
