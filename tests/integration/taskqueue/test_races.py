"""Races of the queue that need two sessions, or an accident at one moment. docs/testing.md lists them all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from ostinato.clock import SystemClock
from ostinato.errors import CommitOutcomeUnknown, Unavailable
from ostinato.storage.database import Database, open_database
from ostinato.storage.transaction import Row
from ostinato.taskqueue import (
    Dispatcher,
    Handler,
    QueueSettings,
    TaskContext,
    Worker,
    WorkerSettings,
    open_dispatcher,
)
from ostinato.taskqueue.embedded import ready_store, worker_store
from ostinato.taskqueue.embedded.fair_share import BEGINNING
from ostinato.taskqueue.embedded.pace import NORMAL, Pace
from tests.integration.taskqueue.conftest import CLASSES, LETTER, letter, running, until

_WAITING = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"


async def until_somebody_waits(db: Database) -> None:
    async with asyncio.timeout(10):
        while not await db.fetchval(_WAITING):
            await asyncio.sleep(0.005)


async def claim_all(db: Database, worker_id: int, *, lease: timedelta = timedelta(minutes=1)) -> list[Row]:
    await worker_store.register_worker(db, worker_id, lease, "race")
    strands = [row["strand"] for row in await db.fetch("select distinct strand from tq_ready")]
    return await ready_store.claim(db, worker_id, [(strand, BEGINNING, 100) for strand in strands], 100)


def fence(row: Row) -> ready_store.Fence:
    return row["version"], row["id"]


@pytest.fixture
async def other(database: Database) -> AsyncIterator[Database]:
    """Another process' connections."""
    async with open_database(database.settings) as opened:
        yield opened


@asynccontextmanager
async def handling(db: Database, dispatcher: Dispatcher, pace: Pace) -> AsyncIterator[list[int]]:
    seen: list[int] = []

    async def handle(_: TaskContext, payload: Any) -> None:
        seen.append(payload.job_id)

    settings = WorkerSettings(pace=pace, drain_grace=2, listen=False)
    async with running(db, dispatcher, Handler.single(LETTER, handle), settings=settings):
        yield seen


async def test_a_completion_that_waits_for_a_reaping_completes_nothing(
    database: Database, other: Database, dispatcher: Dispatcher
) -> None:
    await dispatcher.add(LETTER, letter(1))
    (row,) = await claim_all(database, 5)
    await database.execute("update tq_worker set expires_at = ostinato_now() - interval '1 s'")
    async with other.transaction() as reaping:
        assert await worker_store.reap(reaping, [5]) == 1
        completing = asyncio.ensure_future(ready_store.complete(database, 5, [fence(row)]))
        await until_somebody_waits(other)
    assert await completing == 0
    assert await database.fetchval("select count(*) from tq_ready where claimed_by = 0") == 1


async def test_a_reaping_that_waits_for_a_completion_frees_nothing(
    database: Database, other: Database, dispatcher: Dispatcher
) -> None:
    await dispatcher.add(LETTER, letter(1))
    (row,) = await claim_all(database, 5)
    await database.execute("update tq_worker set expires_at = ostinato_now() - interval '1 s'")
    async with other.transaction() as completing:
        assert await ready_store.complete(completing, 5, [fence(row)]) == 1
        reaping = asyncio.ensure_future(worker_store.reap(database, [5]))
        await until_somebody_waits(other)
    assert await reaping == 0
    assert await database.fetchval("select count(*) from tq_ready") == 0


class LostAnswer:
    """A gate that loses the answer to the first statement with `part`."""

    def __init__(self, part: str) -> None:
        self.lost = 0
        self._part = part

    async def before(self, _: str, __: object) -> None:
        """Everything reaches the database."""

    def after(self, step: str) -> None:
        if self._part in step and not self.lost:
            self.lost += 1
            raise Unavailable("the network")


@pytest.mark.parametrize("statement", ["tq_claim_v2", "tq_move_in_v1", "tq_claim_limited_v1"])
async def test_what_a_lost_answer_leaves_claimed_runs_again_within_seconds(database: Database, statement: str) -> None:
    """It stood still until the next regular rescue, 15 s to two minutes later."""
    gate = LostAnswer(statement)
    limits = [QueueSettings("mail", max_concurrent=5)] if "limited" in statement else []
    delay = timedelta(milliseconds=100) if "move" in statement else None
    async with (
        open_dispatcher(database, classes=CLASSES, queues=limits) as dispatcher,
        open_database(database.settings, gate=gate) as far,
    ):
        if "move" not in statement:
            await dispatcher.add_many(LETTER, [letter(n) for n in range(3)])
        async with handling(far, dispatcher, NORMAL) as seen:
            if "move" in statement:
                await dispatcher.add_many(LETTER, [letter(n) for n in range(3)], delay=delay)
            await until(lambda: sorted(seen) == [0, 1, 2], seconds=5)
    assert gate.lost == 1


class CancelDuring:
    """A gate that cancels somebody while the first statement with `part` is under way at the server."""

    def __init__(self, part: str) -> None:
        self.victim: asyncio.Future[None] | None = None
        self._part = part

    async def before(self, step: str, _: object) -> None:
        if self._part in step and self.victim is not None:
            asyncio.get_running_loop().call_soon(self.victim.cancel)
            self.victim = None

    def after(self, _: str) -> None:
        """The server was asked already."""


@pytest.mark.parametrize("statement", ["tq_claim_v2", "tq_move_in_v1", "delete from tq_ready"])
async def test_a_worker_cancelled_in_the_middle_of_a_statement_loses_nothing(
    database: Database, dispatcher: Dispatcher, statement: str
) -> None:
    gate = CancelDuring(statement)
    pace = Pace(lease=1.0, beat_every=0.1)
    seen: set[int] = set()

    async def handle(_: TaskContext, payload: Any) -> None:
        seen.add(payload.job_id)

    handler = Handler.single(LETTER, handle)
    delay = timedelta(milliseconds=50) if "move" in statement else None
    await dispatcher.add_many(LETTER, [letter(n) for n in range(20)], delay=delay)
    async with open_database(database.settings, gate=gate) as far:
        worker = Worker(far, dispatcher, [handler], settings=WorkerSettings(pace=pace, listen=False))
        gate.victim = run = asyncio.ensure_future(worker.run())
        with pytest.raises(asyncio.CancelledError):
            await run
    async with running(database, dispatcher, handler, settings=WorkerSettings(pace=pace, drain_grace=2, listen=False)):
        async with asyncio.timeout(10):
            while await database.fetchval("select (select count(*) from tq_ready) + (select count(*) from tq_later)"):
                await asyncio.sleep(0.01)
    assert seen == set(range(20))


async def test_of_a_group_of_ends_only_the_stolen_one_is_rejected(database: Database, dispatcher: Dispatcher) -> None:
    started, finish = asyncio.Event(), asyncio.Event()
    under_way: list[int] = []

    async def handle(task: TaskContext, _: Any) -> None:
        if task.attempt == 1:
            under_way.append(task.id)
            if len(under_way) == 10:
                started.set()
            await finish.wait()

    ids = await dispatcher.add_many(LETTER, [letter(n) for n in range(10)])
    async with running(database, dispatcher, Handler.single(LETTER, handle)) as worker:
        await started.wait()
        await database.execute("update tq_ready set claimed_by = 0, ready_at = ostinato_now() where id = $1", ids[3])
        finish.set()
        await until(lambda: worker.stats.done == 11)
        async with asyncio.timeout(10):
            while await database.fetchval("select count(*) from tq_ready"):
                await asyncio.sleep(0.01)
        assert worker.stats.rejected == 1


async def test_an_end_that_was_written_although_its_answer_was_lost_is_not_called_rejected(
    database: Database, dispatcher: Dispatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    complete = ready_store.complete
    answers: list[int] = []

    async def answer_lost_once(db: Database, worker_id: int, fences: Sequence[ready_store.Fence]) -> int:
        answers.append(await complete(db, worker_id, fences))
        if len(answers) == 1:
            raise CommitOutcomeUnknown("the network")
        return answers[-1]

    monkeypatch.setattr(ready_store, "complete", answer_lost_once)
    await dispatcher.add(LETTER, letter(1))

    async def handle(_: TaskContext, __: Any) -> None:
        """Does nothing."""

    async with running(database, dispatcher, Handler.single(LETTER, handle)) as worker:
        await until(lambda: len(answers) == 2)
    assert answers == [1, 0]
    assert worker.stats.rejected == 0


async def test_what_a_claim_skipped_because_it_was_locked_is_found_although_the_cursor_has_passed_it(
    database: Database, other: Database, dispatcher: Dispatcher
) -> None:
    """A claim that comes back short has not seen everything."""
    locked = await dispatcher.add(LETTER, letter(1))
    pace = Pace(rescue_every=3600)  # not found by looking at everything
    async with other.transaction() as tx:
        await tx.execute("select from tq_ready where id = $1 for update", locked)
        async with handling(database, dispatcher, pace) as seen:
            await dispatcher.add(LETTER, letter(2))
            await until(lambda: seen == [2])
            await tx.execute("rollback")
            await until(lambda: seen == [2, 1])
            await tx.execute("begin")  # for the end of the block


async def test_what_is_added_late_in_a_long_transaction_is_ready_from_its_insert_on(
    database: Database, dispatcher: Dispatcher
) -> None:
    """With the transaction's own time it would lie behind every cursor, and a lease would end early."""
    async with database.transaction() as tx:
        began_at = await tx.fetchval("select now()")
        await dispatcher.add(LETTER, letter(1), tx=tx)
        await dispatcher.add(LETTER, letter(2), tx=tx, delay=timedelta(minutes=1))
        before_commit = await tx.fetchval("select clock_timestamp()")
    assert began_at < before_commit
    assert await database.fetchval("select ready_at > $1 from tq_ready", before_commit)
    assert await database.fetchval("select due_at - interval '1 min' > $1 from tq_later", before_commit)


class WrongClock(SystemClock):
    def now(self) -> Any:
        return super().now() - timedelta(days=900)


async def test_an_adder_with_a_wrong_clock_adds_for_the_right_time(database: Database) -> None:
    async with open_dispatcher(database, classes=CLASSES, clock=WrongClock()) as dispatcher:
        await dispatcher.add(LETTER, letter(1))
        await dispatcher.add(LETTER, letter(2), delay=timedelta(minutes=1))
    near = "between ostinato_now() - interval '10 s' and ostinato_now()"
    assert await database.fetchval(f"select ready_at {near} from tq_ready")
    assert await database.fetchval(f"select due_at - interval '1 min' {near} from tq_later")


async def test_a_row_version_that_is_used_again_does_not_let_an_old_fence_through(
    database: Database, dispatcher: Dispatcher
) -> None:
    """VACUUM gives the place of a deleted row to another one, which the same worker may hold."""
    first = await dispatcher.add(LETTER, letter(1))
    (old,) = await claim_all(database, 5)
    assert await ready_store.complete(database, 5, [fence(old)]) == 1
    async with asyncio.timeout(10):
        while await database.fetchval("select count(*) from tq_ready where ctid = $1::tid", old["version"]) == 0:
            await database.execute("delete from tq_ready")
            await database.execute("vacuum (truncate false) tq_ready")
            await dispatcher.add(LETTER, letter(2))
            await database.execute("update tq_ready set claimed_by = 5")
    assert await database.fetchval("select id from tq_ready") != first
    assert await ready_store.complete(database, 5, [fence(old)]) == 0
    assert await database.fetchval("select count(*) from tq_ready") == 1
