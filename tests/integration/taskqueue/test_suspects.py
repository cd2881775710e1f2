"""Tasks that kill their process: told apart from those that were only beside them, run alone, ever later."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from ostinato import errors
from ostinato.storage.database import Database, DatabaseSettings, open_database
from ostinato.taskqueue import (
    Dispatcher,
    Handler,
    Outcome,
    TaskContext,
    WorkerSettings,
    list_dead_letters,
    open_dispatcher,
    pause_queue,
    resume_queue,
)
from ostinato.taskqueue.embedded import ready_store, worker_store
from ostinato.taskqueue.embedded.fair_share import BEGINNING
from ostinato.taskqueue.embedded.pace import Pace
from ostinato.taskqueue.task_flags import ALONE, CRASH, MOST_CRASHES, NAMED, crashes_of
from ostinato.testing.tcp_proxy import open_tcp_proxy
from tests.integration.taskqueue.conftest import LETTER, letter, running, until


async def hold_all(db: Database, worker_id: int) -> None:
    """A worker that claimed everything and died."""
    await db.execute("insert into tq_worker values ($1, '2001-01-01', 'gone', ostinato_now())", worker_id)
    await db.execute("update tq_ready set claimed_by = $1", worker_id)


async def die_holding_all(db: Database, worker_id: int) -> None:
    await hold_all(db, worker_id)
    await worker_store.reap(db, [worker_id])


async def flags_by_id(db: Database) -> dict[int, int]:
    rows = await db.fetch("select id, flags from tq_ready union all select id, flags from tq_later")
    return {row["id"]: row["flags"] for row in rows}


async def test_two_deaths_are_charged_to_all_and_then_only_to_what_ran_alone(
    database: Database, dispatcher: Dispatcher
) -> None:
    ids = await dispatcher.add_many(LETTER, [letter(n) for n in range(3)])
    for worker_id in (71, 72):
        await die_holding_all(database, worker_id)
    assert await flags_by_id(database) == dict.fromkeys(ids, 2 * CRASH)
    await database.execute("update tq_ready set flags = flags | $2::int where id = $1", ids[0], ALONE)
    await die_holding_all(database, 73)
    assert await flags_by_id(database) == {ids[0]: 3 * CRASH, ids[1]: 2 * CRASH, ids[2]: 2 * CRASH}


@pytest.mark.parametrize(("before", "seconds"), [(2, 5), (3, 10), (4, 20), (7, 160), (8, 300), (MOST_CRASHES, 300)])
async def test_a_culprit_comes_again_later_each_time_up_to_five_minutes(
    database: Database, dispatcher: Dispatcher, before: int, seconds: int
) -> None:
    await dispatcher.add(LETTER, letter(1), dedup_key="a")
    await database.execute("update tq_ready set flags = flags | $1::int", before * CRASH + ALONE)
    await die_holding_all(database, 71)
    row = await database.fetchrow("select flags, extract(epoch from due_at - ostinato_now()) as ahead from tq_later")
    assert row is not None
    assert seconds - 5 < row["ahead"] <= seconds
    assert row["flags"] == NAMED + min(before + 1, MOST_CRASHES) * CRASH
    assert await database.fetchval("select count(*) from tq_ready") == 0


async def test_an_answer_of_the_handler_clears_what_was_charged(database: Database, dispatcher: Dispatcher) -> None:
    seen: list[int] = []

    async def handle(task: TaskContext, _: Any) -> None:
        seen.append(task.crashes)
        if len(seen) == 1:
            raise RuntimeError("once")

    await dispatcher.add(LETTER, letter(1))
    await database.execute("update tq_ready set flags = $1", 4 * CRASH)
    async with running(database, dispatcher, Handler.single(LETTER, handle)):
        await until(lambda: seen == [4, 0])


async def test_a_release_is_no_death_and_takes_the_mark_away(database: Database, dispatcher: Dispatcher) -> None:
    started = asyncio.Event()

    async def handle(_: TaskContext, __: Any) -> None:
        started.set()
        await asyncio.Event().wait()

    await dispatcher.add(LETTER, letter(1))
    await database.execute("update tq_ready set flags = $1", 2 * CRASH)
    async with running(database, dispatcher, Handler.single(LETTER, handle)) as worker:
        await started.wait()
        assert await database.fetchval("select flags from tq_ready") == 2 * CRASH + ALONE
        worker.drain()
    assert await database.fetchval("select flags from tq_ready") == 2 * CRASH


async def test_outages_of_the_database_are_not_charged_to_what_was_held(database: Database) -> None:
    """After two of them each of a thousand long runs was a suspect, and they began again one by one."""
    starts: list[int] = []

    async def handle(_: TaskContext, payload: Any) -> None:
        starts.append(payload.job_id)
        await asyncio.Event().wait()

    async with (
        open_tcp_proxy(database.settings.url) as proxy,
        open_database(DatabaseSettings(proxy.url(database.settings.url))) as far,
        open_dispatcher(far, classes=[LETTER]) as dispatcher,
    ):
        await dispatcher.add_many(LETTER, [letter(n) for n in range(50)])
        settings = WorkerSettings(pace=Pace(lease=1.0, beat_every=0.2), drain_grace=0, listen=False)
        async with running(far, dispatcher, Handler.single(LETTER, handle), settings=settings) as worker:
            for outage in range(3):
                await until(lambda count=50 * (outage + 1): len(starts) >= count)  # type: ignore[misc]
                before = worker.worker_id
                proxy.go_down()
                await until(lambda lost=before: worker.worker_id != lost)  # type: ignore[misc]
                proxy.recover()
            await until(lambda: len(starts) >= 200)
            assert await database.fetchval("select count(*) from tq_ready where flags = 0") == 50


async def test_suspects_run_one_after_the_other_and_in_no_batch(database: Database, dispatcher: Dispatcher) -> None:
    batches: list[list[int]] = []
    under_way = most_suspects = 0

    async def handle_many(tasks: Sequence[TaskContext]) -> Sequence[Outcome | None]:
        nonlocal under_way, most_suspects
        batches.append([task.crashes for task in tasks])
        suspects = sum(task.crashes > 1 for task in tasks)
        under_way += suspects
        most_suspects = max(most_suspects, under_way)
        await asyncio.sleep(0.01)
        under_way -= suspects
        return [None] * len(tasks)

    ids = await dispatcher.add_many(LETTER, [letter(n) for n in range(40)])
    await database.execute("update tq_ready set flags = $1 where id = any($2)", 2 * CRASH, ids[:10])
    async with running(database, dispatcher, Handler.batch(LETTER, handle_many)) as worker:
        await until(lambda: worker.stats.done == 40)
    assert sorted(batch for batch in batches if 2 in batch) == [[2]] * 10
    assert most_suspects == 1


async def test_nothing_else_starts_beside_a_culprit_until_it_ends(database: Database, dispatcher: Dispatcher) -> None:
    started, finish = asyncio.Event(), asyncio.Event()
    seen: list[int] = []

    async def handle(task: TaskContext, payload: Any) -> None:
        seen.append(payload.job_id)
        if task.crashes:
            started.set()
            await finish.wait()

    culprit = await dispatcher.add(LETTER, letter(0))
    await database.execute("update tq_ready set flags = $1 where id = $2", 3 * CRASH, culprit)
    async with running(database, dispatcher, Handler.single(LETTER, handle)) as worker:
        await started.wait()
        await dispatcher.add(LETTER, letter(1))
        for _ in range(20):
            await asyncio.sleep(0.005)
        assert seen == [0]
        finish.set()
        await until(lambda: worker.stats.done == 2)


async def test_a_long_run_of_a_culprit_does_not_stop_the_process(database: Database, dispatcher: Dispatcher) -> None:
    started, finish = asyncio.Event(), asyncio.Event()

    async def handle(task: TaskContext, _: Any) -> None:
        if task.crashes:
            started.set()
            await finish.wait()

    culprit = await dispatcher.add(LETTER, letter(0))
    await database.execute("update tq_ready set flags = $1 where id = $2", 3 * CRASH, culprit)
    async with running(database, dispatcher, Handler.single(LETTER, handle)) as worker:
        await started.wait()
        await dispatcher.add(LETTER, letter(1))
        await until(lambda: worker.stats.done == 1)
        finish.set()
        await until(lambda: worker.stats.done == 2)


async def test_a_suspect_whose_task_was_taken_over_does_not_run(
    database: Database, dispatcher: Dispatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = worker_store.mark_alone
    seen: list[int] = []

    async def handle(task: TaskContext, _: Any) -> None:
        seen.append(task.attempt)

    async def stolen_first(*args: Any) -> Any:
        if not seen:
            seen.append(0)
            await database.execute("update tq_ready set claimed_by = 0, ready_at = ostinato_now()")
        return await mark(*args)

    monkeypatch.setattr(worker_store, "mark_alone", stolen_first)
    await dispatcher.add(LETTER, letter(1))
    await database.execute("update tq_ready set flags = $1", 2 * CRASH)
    async with running(database, dispatcher, Handler.single(LETTER, handle)) as worker:
        await until(lambda: worker.stats.done == 1)
        assert worker.stats.rejected == 1
    assert seen == [0, 2]


async def test_a_suspect_that_cannot_be_marked_is_released(
    database: Database, dispatcher: Dispatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = worker_store.mark_alone
    failures = 2

    async def fails_at_first(*args: Any) -> Any:
        nonlocal failures
        if failures:
            failures -= 1
            raise errors.Unavailable("away")
        return await mark(*args)

    async def handle(_: TaskContext, __: Any) -> None:
        """Does nothing."""

    monkeypatch.setattr(worker_store, "mark_alone", fails_at_first)
    await dispatcher.add(LETTER, letter(1))
    await database.execute("update tq_ready set flags = $1", 2 * CRASH)
    async with running(database, dispatcher, Handler.single(LETTER, handle)) as worker:
        await until(lambda: worker.stats.done == 1)
        assert worker.stats.released == 2


async def test_a_suspect_does_not_start_after_a_pause_that_came_while_it_was_prepared(
    database: Database, dispatcher: Dispatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its mark, or the wait for everything else to end, may take longer than a pause may be ignored."""
    mark = worker_store.mark_alone
    seen: list[int] = []

    async def handle(task: TaskContext, _: Any) -> None:
        seen.append(task.crashes)

    async def pause_meanwhile(*args: Any) -> Any:
        row = await mark(*args)
        if not seen and not paused.is_set():
            await pause_queue(database, "mail")
            load = worker._incarnation.tasks._queues[dispatcher.queue_ids["mail"]]  # type: ignore[union-attr]
            await until(lambda: load.state is not None and load.state.paused)
            paused.set()
        return row

    paused = asyncio.Event()
    monkeypatch.setattr(worker_store, "mark_alone", pause_meanwhile)
    await dispatcher.add(LETTER, letter(1))
    await database.execute("update tq_ready set flags = $1", 2 * CRASH)
    async with running(database, dispatcher, Handler.single(LETTER, handle)) as worker:
        await paused.wait()
        await until(lambda: worker.stats.released or seen)
        assert seen == []
        await resume_queue(database, "mail")
        await until(lambda: worker.stats.done == 1)
    assert seen == [2]


@pytest.mark.parametrize(("crashes", "dead"), [(4, False), (5, True)])
async def test_a_class_may_bury_what_killed_its_process_too_often(database: Database, crashes: int, dead: bool) -> None:
    fragile = replace(LETTER, max_crashes=5)

    async def handle(_: TaskContext, __: Any) -> None:
        """Does nothing."""

    async with open_dispatcher(database, classes=[fragile]) as dispatcher:
        await dispatcher.add(fragile, letter(1), dedup_key="a")
        await database.execute("update tq_ready set flags = flags | $1::int", crashes * CRASH)
        async with running(database, dispatcher, Handler.single(fragile, handle)) as worker:
            await until(lambda: worker.stats.dead + worker.stats.done == 1)
    letters = await list_dead_letters(database)
    assert [found.error for found in letters] == (["its worker died 5 times in a row"] if dead else [])
    assert await database.fetchval("select expires_at < 'infinity' from tq_name")


@pytest.mark.parametrize("limit", [1, 2, MOST_CRASHES + 1, -1])
async def test_a_limit_that_would_blame_the_wrong_task_is_refused(database: Database, limit: int) -> None:
    with pytest.raises(errors.InvalidArgument, match="max_crashes"):
        async with open_dispatcher(database, classes=[replace(LETTER, max_crashes=limit)]):
            pass


async def test_the_engines_tasks_are_never_buried_for_a_crash() -> None:
    from ostinato.jobflow.engine_tasks import ENGINE_TASK_CLASSES

    assert {task_class.max_crashes for task_class in ENGINE_TASK_CLASSES} == {0}


async def test_a_poison_task_is_singled_out_among_its_neighbours(database: Database, dispatcher: Dispatcher) -> None:
    """Each round is a process that claims all, runs what it may, and dies as soon as it runs the poison."""
    ids = await dispatcher.add_many(LETTER, [letter(n) for n in range(50)])
    poison = ids[25]
    strands = [row["strand"] for row in await database.fetch("select distinct strand from tq_ready")]
    for worker_id in range(1, 5):
        await database.execute(
            "insert into tq_worker values ($1, ostinato_now() + interval '1 m', 'h', ostinato_now())", worker_id
        )
        windows = [(strand | 63, BEGINNING, 100) for strand in strands] + [(s, BEGINNING, 100) for s in strands]
        rows = await ready_store.claim(database, worker_id, windows, 100)
        for row in sorted(rows, key=lambda row: row["id"]):
            if crashes_of(row["flags"]) >= 2:
                marked = await worker_store.mark_alone(database, worker_id, (row[0], row[1]))
                assert marked is not None
                row = marked  # noqa: PLW2901 - the row as it is now
            if row["id"] == poison:
                break
            if worker_id > 1:  # in the first round all run at once, and none comes to its end
                await ready_store.complete(database, worker_id, [(row[0], row[1])])
        await database.execute("update tq_worker set expires_at = '2001-01-01'")
        await worker_store.reap(database, [worker_id])
        await database.execute("update tq_later set due_at = ostinato_now()")
    charged = {task_id: crashes_of(flags) for task_id, flags in (await flags_by_id(database)).items()}
    assert charged == {poison: 3}  # and its neighbours ran to their ends
