"""Rate and concurrency of a queue, over all processes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from ostinato.errors import InvalidArgument, Unavailable
from ostinato.storage.database import Database, DatabaseSettings, open_database
from ostinato.storage.transaction import Tx
from ostinato.taskqueue import (
    Dispatcher,
    Handler,
    QueueSettings,
    TaskContext,
    Worker,
    WorkerSettings,
    open_dispatcher,
    pause_queue,
    queue_stats,
    resume_queue,
)
from ostinato.taskqueue.embedded import ready_store, worker_store
from ostinato.taskqueue.embedded.fair_share import BEGINNING
from ostinato.taskqueue.embedded.strand import REDELIVERY, strand_of
from tests.integration.taskqueue.conftest import CLASSES, LETTER, STAMP, letter, running, until


class Crowd:
    """Counts how many handlers of all workers run at once."""

    def __init__(self) -> None:
        self.now = self.most = self.done = 0
        self.pause = 0.01

    async def handle(self, _: TaskContext, __: Any) -> None:
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(self.pause)
        self.now -= 1
        self.done += 1


@asynccontextmanager
async def limited(db: Database, *queues: QueueSettings) -> AsyncIterator[Dispatcher]:
    async with open_dispatcher(db, classes=CLASSES, queues=queues) as dispatcher:
        yield dispatcher


@asynccontextmanager
async def workers(url: str, count: int, handler: Handler, *, listen: bool = True) -> AsyncIterator[Sequence[Worker]]:
    """Each with a pool and a dispatcher of its own, as processes have them."""
    async with asyncio.TaskGroup() as group:
        opened: list[Worker] = []
        stop = asyncio.Event()

        async def live() -> None:
            async with (
                open_database(DatabaseSettings(url, application_name="test")) as db,
                open_dispatcher(db, classes=CLASSES) as dispatcher,
                running(db, dispatcher, handler, settings=WorkerSettings(listen=listen, drain_grace=2)) as worker,
            ):
                opened.append(worker)
                await stop.wait()

        for _ in range(count):
            group.create_task(live())
        try:
            await until(lambda: len(opened) == count and all(worker.lease_valid for worker in opened))
            yield opened
        finally:
            stop.set()


@pytest.mark.parametrize("listen", [True, False])
async def test_never_more_run_at_once_than_the_queue_allows_in_all_processes(
    database: Database, database_url: str, listen: bool
) -> None:
    crowd = Crowd()
    async with limited(database, QueueSettings("mail", max_concurrent=5)) as dispatcher:
        await dispatcher.add_many(LETTER, [letter(n) for n in range(150)])
        async with workers(database_url, 3, Handler.single(LETTER, crowd.handle), listen=listen):
            await until(lambda: crowd.done == 150, seconds=20)
    assert crowd.most == 5


async def test_what_ends_in_a_draining_process_makes_room_in_others(database: Database, database_url: str) -> None:
    """It claims no more, but holds places until its tasks have ended, which may be long."""
    started: list[int] = []
    ends = {n: asyncio.Event() for n in range(3)}

    async def handle(_: TaskContext, payload: Any) -> None:
        started.append(payload.job_id)
        await ends[payload.job_id].wait()

    handler = Handler.single(LETTER, handle)
    async with (
        limited(database, QueueSettings("mail", max_concurrent=2)) as dispatcher,
        running(database, dispatcher, handler, settings=WorkerSettings(drain_grace=10)) as first,
    ):
        for n in range(3):
            await dispatcher.add(LETTER, letter(n))
            await until(lambda n=n: len(started) == min(n + 1, 2))
        async with workers(database_url, 1, handler):
            first.drain()
            ends[started[0]].set()
            await until(lambda: len(started) == 3, seconds=3)
            assert first.running == 1
            for end in ends.values():
                end.set()
            await until(lambda: first.running == 0)
    # Room is known to be free: nothing is believed to run any more.
    assert await database.fetchval("select coalesce(sum(running), 0) from tq_queue_running") == 0


async def test_a_dead_processs_room_comes_back_with_its_lease(database: Database) -> None:
    async with limited(database, QueueSettings("mail", max_concurrent=2)) as dispatcher:
        await dispatcher.add_many(LETTER, [letter(n) for n in range(4)])
        strand, queue = strand_of(dispatcher.queue_ids["mail"]), dispatcher.queue_ids["mail"]
        for worker in (1, 2):
            await worker_store.register_worker(database, worker, timedelta(seconds=60), "test")
        assert await claimed_by(database, 1, queue, strand, held=0) == 2
        assert await claimed_by(database, 2, queue, strand, held=0) == 0
        await database.execute("update tq_worker set expires_at = ostinato_now() - interval '1 s' where worker_id = 1")
        # Its lease is over, but it may still run them: only who reaps it makes room.
        assert await claimed_by(database, 2, queue, strand, held=0) == 0
        assert await worker_store.reap(database, [1]) == 2
        assert await claimed_by(database, 2, queue, strand, held=0) == 2
        # A reaper that knows nothing of limits leaves the row of the dead behind: it does not count.
        await database.execute("delete from tq_worker where worker_id = 2")
        assert await worker_store.free_orphans(database) == 2
        await worker_store.register_worker(database, 3, timedelta(seconds=60), "test")
        assert await claimed_by(database, 3, queue, strand | REDELIVERY, held=0) == 2


async def claimed_by(
    db: Database | Tx, worker: int, queue: int, strand: int, *, held: int, doubts: int = 0, room: int = 10
) -> int:
    rows, _, _ = await ready_store.claim_limited(
        db, worker, queue, held=held, doubts=doubts, windows=[(strand, BEGINNING, room)], room=room
    )
    return len(rows)


async def test_a_claim_that_is_carried_out_after_a_later_one_takes_and_tells_nothing(database: Database) -> None:
    """Its connection was lost while it waited for the queue's lock: the server goes on with it all the same."""
    async with limited(database, QueueSettings("mail", max_concurrent=2)) as dispatcher:
        queue = dispatcher.queue_ids["mail"]
        strand = strand_of(queue)
        await dispatcher.add_many(LETTER, [letter(n) for n in range(9)])
        for worker in (1, 2):
            await worker_store.register_worker(database, worker, timedelta(seconds=60), "test")
        assert await claimed_by(database, 1, queue, strand, held=0, doubts=1) == 2
        assert await claimed_by(database, 1, queue, strand, held=0, doubts=0) == 0
        assert await claimed_by(database, 2, queue, strand, held=0) == 0
        assert await database.fetchval("select running from tq_queue_running where worker_id = 1") == 2
        assert await claimed_by(database, 1, queue, strand, held=1, doubts=1) == 1


async def test_who_lost_an_answer_says_so_with_the_next_claim(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim, doubts = ready_store.claim_limited, []

    async def loses_the_first(*args: Any, **kwargs: Any) -> Any:
        answer = await claim(*args, **kwargs)
        doubts.append(kwargs["doubts"])
        if len(doubts) == 1:
            raise Unavailable("the answer was lost")
        return answer

    monkeypatch.setattr(ready_store, "claim_limited", loses_the_first)
    crowd = Crowd()
    async with (
        limited(database, QueueSettings("mail", max_concurrent=2)) as dispatcher,
        running(database, dispatcher, Handler.single(LETTER, crowd.handle)),
    ):
        await dispatcher.add_many(LETTER, [letter(n) for n in range(9)])
        await until(lambda: crowd.done >= 7)
    assert doubts[0] == 0
    assert {*doubts[1:]} == {1}


async def test_what_counts_for_a_ceiling_is_on_disk_before_it_runs(database: Database) -> None:
    """After a crash of the server it would run a second time, beside those that its death did not stop."""
    async with limited(
        database, QueueSettings("mail", max_concurrent=2), QueueSettings("stamps", max_rate=1)
    ) as dispatcher:
        await worker_store.register_worker(database, 1, timedelta(seconds=60), "test")
        await dispatcher.add_many(LETTER, [letter(n) for n in range(9)])
        await dispatcher.add(STAMP, STAMP.payload())
        kept: list[tuple[int, str]] = []
        for name in ("mail", "mail", "stamps"):
            queue = dispatcher.queue_ids[name]
            held = sum(count for count, _ in kept)
            async with database.transaction() as tx:
                await tx.execute("set local synchronous_commit = on")
                count = await claimed_by(tx, 1, queue, strand_of(queue), held=held)
                kept.append((count, await tx.fetchval("show synchronous_commit")))
    assert kept == [(2, "on"), (0, "off"), (1, "off")]


async def test_a_process_that_learned_of_the_limit_too_late_claims_nothing_past_it(database: Database) -> None:
    """Neither does one of the release before, which knows no limits."""
    async with limited(database, QueueSettings("mail", max_concurrent=1)) as dispatcher:
        await dispatcher.add_many(LETTER, [letter(n) for n in range(4)])
        await worker_store.register_worker(database, 1, timedelta(seconds=60), "test")
        strand = strand_of(dispatcher.queue_ids["mail"])
        assert await ready_store.claim(database, 1, [(strand, BEGINNING, 10)], 10) == []
        old = await database.fetch(
            "select * from tq_claim_v1(1, array[$1::int], array[$2::timestamptz], array[10], 10)", strand, BEGINNING
        )
        assert old == []
        moved = await ready_store.move_in(database, 1, since=BEGINNING, strands=[strand], room=10, most=10)
        assert moved == []


async def test_due_tasks_of_a_limited_queue_are_not_born_claimed(database: Database) -> None:
    async with limited(database, QueueSettings("mail", max_concurrent=1)) as dispatcher:
        await dispatcher.add_many(LETTER, [letter(n) for n in range(4)], delay=timedelta(milliseconds=1))
        await worker_store.register_worker(database, 1, timedelta(seconds=60), "test")
        strand = strand_of(dispatcher.queue_ids["mail"])
        rows = await ready_store.move_in(database, 1, since=BEGINNING, strands=[strand], room=10, most=10)
        assert [row["claimed_by"] for row in rows] == [0] * 4


async def test_two_claims_at_once_share_the_room_that_is_there(database: Database, database_url: str) -> None:
    """Each reads what the other holds after it has the lock, not as of its own beginning."""
    async with (
        limited(database, QueueSettings("mail", max_concurrent=7)) as dispatcher,
        open_database(DatabaseSettings(database_url, application_name="test", pool_size=20)) as db,
    ):
        queue = dispatcher.queue_ids["mail"]
        await dispatcher.add_many(LETTER, [letter(n) for n in range(100)])
        for worker in range(1, 11):
            await worker_store.register_worker(db, worker, timedelta(seconds=60), "test")
        counts = await asyncio.gather(
            *(claimed_by(db, worker, queue, strand_of(queue), held=0, room=3) for worker in range(1, 11))
        )
    assert sum(counts) == 7


# When each claim was granted: by the bucket that it took its tokens from, not by when a busy machine let it start.
_WATCH_THE_BUCKET = """
create table claimed (txid xid8 not null);
create table refilled (txid xid8 not null, at timestamptz not null);
create function watch_claim() returns trigger language plpgsql as $$
begin
    insert into claimed values (pg_current_xact_id());
    return null;
end $$;
create function watch_refill() returns trigger language plpgsql as $$
begin
    insert into refilled values (pg_current_xact_id(), new.refilled_at);
    return null;
end $$;
create trigger watch after update of claimed_by on tq_ready
    for each row when (old.claimed_by = 0 and new.claimed_by <> 0) execute function watch_claim();
create trigger watch after update on tq_queue_budget for each row execute function watch_refill();
"""
_GRANTS = """
select extract(epoch from r.at)::float8 as at, count(*) as tasks
  from claimed c join refilled r using (txid) group by r.at order by r.at
"""


async def test_no_more_start_than_rate_and_burst_allow(database: Database, database_url: str) -> None:
    """In any stretch of time, over two processes; that it is not slower either is for a quiet machine to show."""
    rate, burst, count = 40, 8, 60
    started: list[int] = []

    async def handle(task: TaskContext, _: Any) -> None:
        started.append(task.id)

    await database.execute(_WATCH_THE_BUCKET)
    async with limited(database, QueueSettings("mail", max_rate=rate, burst=burst)) as dispatcher:
        await dispatcher.add_many(LETTER, [letter(n) for n in range(count)])
        async with workers(database_url, 2, Handler.single(LETTER, handle)):
            await until(lambda: len(started) == count, seconds=20)
    grants = [(row["at"], row["tasks"]) for row in await database.fetch(_GRANTS)]
    assert sum(tasks for _, tasks in grants) == count
    for first, (begin, _) in enumerate(grants):
        for last in range(first, len(grants)):
            granted = sum(tasks for _, tasks in grants[first : last + 1])
            assert granted <= burst + rate * (grants[last][0] - begin) + 1e-3


async def test_tokens_come_back_with_time_up_to_the_burst(database: Database) -> None:
    """The arithmetic, on a bucket whose last filling is set by hand."""
    async with limited(database, QueueSettings("mail", max_rate=0.01, burst=5)) as dispatcher:
        queue = dispatcher.queue_ids["mail"]
        await dispatcher.add_many(LETTER, [letter(n) for n in range(100)])
        await worker_store.register_worker(database, 1, timedelta(seconds=60), "test")

        async def claim(*, room: int, after: str) -> tuple[int, int, float | None]:
            await database.execute(f"update tq_queue_budget set refilled_at = refilled_at - interval '{after}'")
            rows, granted, wait = await ready_store.claim_limited(
                database, 1, queue, held=0, doubts=0, windows=[(strand_of(queue), BEGINNING, room)], room=room
            )
            return len(rows), granted, wait and round(wait)

        assert await claim(room=3, after="0 s") == (3, 3, None)
        assert await claim(room=3, after="0 s") == (2, 2, 100)
        assert await claim(room=3, after="30 s") == (0, 0, 70)
        assert await claim(room=3, after="0 s") == (0, 0, 70)  # a claim in vain loses nothing
        assert await claim(room=3, after="90 s") == (1, 1, 80)
        assert await claim(room=9, after="2 days") == (5, 5, 100)
        assert await claim(room=9, after="-1 day") == (0, 0, 100)  # the clock was set back
        assert await claim(room=9, after="100 s") == (1, 1, 100)


async def test_a_limit_that_was_taken_away_is_heard_of(database: Database) -> None:
    crowd = Crowd()
    async with (
        limited(database, QueueSettings("mail", max_rate=0.001, burst=1)) as dispatcher,
        running(database, dispatcher, Handler.single(LETTER, crowd.handle)),
    ):
        await dispatcher.add_many(LETTER, [letter(n) for n in range(20)])
        await until(lambda: crowd.done == 1)
        async with limited(database, QueueSettings("mail")):
            await until(lambda: crowd.done == 20)


async def test_other_queues_work_on_while_one_is_at_its_limit(database: Database) -> None:
    crowd, stamps = Crowd(), Crowd()
    async with limited(database, QueueSettings("mail", max_rate=0.001, burst=1)) as dispatcher:
        handlers = Handler.single(LETTER, crowd.handle), Handler.single(STAMP, stamps.handle)
        async with running(database, dispatcher, *handlers):
            await dispatcher.add_many(LETTER, [letter(n) for n in range(20)])
            await until(lambda: crowd.done == 1)
            for _ in range(20):
                await dispatcher.add(STAMP, STAMP.payload())
            await until(lambda: stamps.done == 20)
    assert crowd.done == 1


async def test_a_pause_holds_for_a_limited_queue_too(database: Database) -> None:
    crowd = Crowd()
    async with limited(database, QueueSettings("mail", max_concurrent=2)) as dispatcher:
        await pause_queue(database, "mail")
        async with running(database, dispatcher, Handler.single(LETTER, crowd.handle)) as worker:
            await until(lambda: worker.lease_valid)
            await dispatcher.add_many(LETTER, [letter(n) for n in range(4)])
            await asyncio.sleep(0.3)
            assert crowd.done == 0
            await resume_queue(database, "mail")
            await until(lambda: crowd.done == 4)


async def test_settings_are_stored_once_and_seen_by_people(database: Database) -> None:
    async with limited(database, QueueSettings("mail", max_rate=7.5, max_concurrent=3)):
        version = await database.fetchval("select version from tq_queue where name = 'mail'")
    async with limited(database, QueueSettings("mail", max_rate=7.5, max_concurrent=3)):
        assert await database.fetchval("select version from tq_queue where name = 'mail'") == version
    async with open_dispatcher(database, classes=CLASSES):  # who says nothing changes nothing
        stats = {queue.name: queue for queue in await queue_stats(database)}
    assert (stats["mail"].max_rate, stats["mail"].burst, stats["mail"].max_concurrent) == (7.5, 7, 3)
    assert (stats["stamps"].max_rate, stats["stamps"].max_concurrent) == (None, None)


@pytest.mark.parametrize(
    ("queues", "path", "rule"),
    [
        ([QueueSettings("post")], "queues[post]", "is the queue of no task class that was given"),
        ([QueueSettings("mail")] * 2, "queues[mail]", "is given twice"),
        (
            [QueueSettings("mail", max_rate=0)],
            "queues[mail].max_rate",
            "must be from 0.001 to 100000 starts per second",
        ),
        ([QueueSettings("mail", max_rate=float("nan"))], "queues[mail].max_rate", "must be from 0.001 to"),
        ([QueueSettings("mail", burst=5)], "queues[mail].burst", "means nothing without max_rate"),
        ([QueueSettings("mail", max_rate=1, burst=0)], "queues[mail].burst", "must be from 1 to 100000"),
        ([QueueSettings("mail", max_concurrent=0)], "queues[mail].max_concurrent", "must be from 1 to 100000"),
    ],
)
async def test_settings_that_make_no_sense_are_refused_before_anything_is_written(
    database: Database, queues: list[QueueSettings], path: str, rule: str
) -> None:
    with pytest.raises(InvalidArgument) as caught:
        async with limited(database, *queues):
            raise AssertionError("must not open")
    assert any(violation.path == path and rule in violation.rule for violation in caught.value.violations)
    assert await database.fetchval("select count(*) from tq_queue") == 0
