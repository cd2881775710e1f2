"""Tasks that the process which adds them starts itself, without a claim."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest

from ostinato.errors import CommitOutcomeUnknown
from ostinato.storage.database import Database, DatabaseSettings, open_database
from ostinato.storage.transaction import Connection, Tx
from ostinato.taskqueue import (
    Dispatcher,
    Handler,
    QueueSettings,
    TaskContext,
    Worker,
    WorkerSettings,
    open_dispatcher,
    pause_queue,
)
from ostinato.taskqueue.administration import store_queue_settings
from ostinato.taskqueue.embedded import worker_store
from tests.integration.taskqueue.conftest import CLASSES, LETTER, letter, running, until

# Wake-ups would only add claims to what the tests count.
QUIET = WorkerSettings(listen=False, drain_grace=2)


@dataclass
class Runs:
    """What a worker ran: (number, what it was given)."""

    worker: Worker
    dispatcher: Dispatcher
    seen: list[tuple[int, object]] = field(default_factory=list)

    async def room(self) -> None:
        class_id = self.dispatcher.class_ids[LETTER.name]
        await until(lambda: self.dispatcher.handover.has_room(class_id, 1))

    async def start_here(self, tx: Tx, numbers: Sequence[int]) -> list[int] | None:
        return await self.dispatcher.start_here(
            LETTER,
            [letter(n) for n in numbers],
            tx=tx,
            fair_keys=[0] * len(numbers),
            traceparents=[None] * len(numbers),
            given=lambda: [f"part {n}" for n in numbers],
        )


@asynccontextmanager
async def working(db: Database, dispatcher: Dispatcher, *, hold: asyncio.Event | None = None) -> AsyncIterator[Runs]:
    async def handle(task: TaskContext, payload: Any) -> None:
        runs.seen.append((payload.job_id, task.given))
        if hold is not None:
            await hold.wait()

    async with running(db, dispatcher, Handler.single(LETTER, handle), settings=QUIET) as worker:
        runs = Runs(worker, dispatcher)
        await runs.room()
        yield runs


async def left(database: Database) -> int:
    count: int = await database.fetchval("select count(*) from tq_ready")
    return count


async def test_they_start_with_the_commit_and_what_they_were_given(database: Database, dispatcher: Dispatcher) -> None:
    async with working(database, dispatcher) as runs:
        async with database.transaction() as tx:
            ids = await runs.start_here(tx, [1, 2])
            assert ids is not None
            rows = await tx.fetch("select claimed_by, attempt from tq_ready")
            assert [tuple(row) for row in rows] == [(runs.worker.worker_id, 1)] * 2
            assert runs.seen == []
        await until(lambda: len(runs.seen) == 2)
        assert sorted(runs.seen) == [(1, "part 1"), (2, "part 2")]
        assert dispatcher.added[LETTER] == 2
    assert await left(database) == 0


async def test_of_a_transaction_that_is_rolled_back_nothing_starts(database: Database, dispatcher: Dispatcher) -> None:
    async with working(database, dispatcher) as runs:
        with suppress(ZeroDivisionError):
            async with database.transaction() as tx:
                assert await runs.start_here(tx, [1]) is not None
                raise ZeroDivisionError
        async with database.transaction() as tx:
            assert await runs.start_here(tx, [2]) is not None
        await until(lambda: runs.seen)
        assert runs.seen == [(2, "part 2")]


async def test_without_a_worker_or_room_they_are_not_added(database: Database, dispatcher: Dispatcher) -> None:
    hold = asyncio.Event()
    async with working(database, dispatcher, hold=hold) as runs:
        async with database.transaction() as tx:
            most = LETTER.max_running
            assert await runs.start_here(tx, range(most + 1)) is None
            assert await runs.start_here(tx, range(most)) is not None
            assert await runs.start_here(tx, [most]) is None
        await until(lambda: len(runs.seen) == most)
        async with database.transaction() as tx:
            assert await runs.start_here(tx, [most]) is None
        hold.set()
    async with database.transaction() as tx:
        assert await runs.start_here(tx, [1]) is None
    assert await left(database) == 0


async def test_from_a_queue_that_is_paused_or_limited_they_are_claimed_as_others(
    database: Database, dispatcher: Dispatcher
) -> None:
    async with working(database, dispatcher) as runs:
        await store_queue_settings(database, [QueueSettings("mail", max_concurrent=5)])
        async with database.transaction() as tx:  # the worker has not heard of it yet
            assert await runs.start_here(tx, [1]) is None
        await store_queue_settings(database, [QueueSettings("mail")])
        await pause_queue(database, "mail")
        async with database.transaction() as tx:
            assert await runs.start_here(tx, [1]) is None
        assert runs.seen == []


async def test_whoever_frees_rows_that_nobody_knows_leaves_those_of_an_open_transaction_alone(
    database: Database, dispatcher: Dispatcher
) -> None:
    async with working(database, dispatcher) as runs:
        async with database.transaction() as tx:
            ids = await runs.start_here(tx, [1])
            tasks = dispatcher.handover.tasks
            assert tasks is not None
            assert tasks.known_ids == ids
            with tasks.expected.closed():
                assert await runs.start_here(tx, [2]) is None
        freed = await worker_store.free_unknown(database, runs.worker.worker_id, tasks.known_ids)
        await until(lambda: runs.seen)
        assert (freed, tasks.expected.ids) == (0, [])


class LosesCommits:
    """A gate behind which commits happen that nobody hears of, once it is told to."""

    def __init__(self, *, by_cancelling: bool) -> None:
        self.armed = False
        self._by_cancelling = by_cancelling

    async def before(self, step: str, connection: Connection | None) -> None:
        task = asyncio.current_task()
        if step == "COMMIT" and self.armed and self._by_cancelling and task is not None:
            self.armed = False
            task.cancel()

    def after(self, step: str) -> None:
        if step == "COMMIT" and self.armed:
            self.armed = False
            raise CommitOutcomeUnknown("the answer was lost")


@pytest.mark.parametrize(
    ("by_cancelling", "error"), [(False, CommitOutcomeUnknown), (True, asyncio.CancelledError)], ids=["lost", "cancel"]
)
async def test_after_a_commit_that_nobody_heard_of_they_run_soon(
    database: Database, database_url: str, by_cancelling: bool, error: type[BaseException]
) -> None:
    """The normal pace: as after a claim whose answer was lost."""
    gate = LosesCommits(by_cancelling=by_cancelling)
    async with (
        open_database(DatabaseSettings(database_url), gate=gate) as db,
        open_dispatcher(db, classes=CLASSES) as dispatcher,
        working(db, dispatcher) as runs,
    ):

        async def add() -> None:
            async with db.transaction() as tx:
                assert await runs.start_here(tx, [7]) is not None
                gate.armed = True

        adding = asyncio.ensure_future(add())
        await asyncio.wait([adding])
        with pytest.raises(error):
            adding.result()
        await until(lambda: runs.seen, seconds=5)
        assert runs.seen == [(7, None)]
        await until(lambda: not runs.worker.running)
    assert await left(database) == 0
