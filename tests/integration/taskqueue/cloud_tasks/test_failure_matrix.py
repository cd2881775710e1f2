"""Whatever fails between a transaction and the end of its task: one test for each row of the table in
docs/taskqueue.md, in its order.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import pytest
from prometheus_client import CollectorRegistry

from ostinato.clock import SystemClock
from ostinato.errors import CommitOutcomeUnknown, Contention, Ignore, Unavailable
from ostinato.localcloud.cloud_tasks.queue_directory import TombstoneSettings
from ostinato.localcloud.faults import Fault, FaultKind
from ostinato.rpc.backlog_metrics import BacklogMetrics
from ostinato.storage.database import Database, DatabaseSettings, connect, open_database
from ostinato.storage.transaction import Tx, adopt
from ostinato.taskqueue import Backend, Dispatcher, open_dispatcher
from ostinato.taskqueue.cloud_tasks.cloud_tasks_queue import open_cloud_tasks_queue
from ostinato.taskqueue.reminders.happy_path import HappyPath, open_happy_path
from ostinato.taskqueue.reminders.parked_store import list_parked, requeue_parked
from ostinato.taskqueue.reminders.refusal_policy import RefusalPolicy
from ostinato.taskqueue.reminders.reminder import NewReminder, new_reminder_id
from ostinato.taskqueue.reminders.reminder_stats import ClassPath, Path, SubmitKey
from ostinato.taskqueue.reminders.submissions import Submissions
from ostinato.taskqueue.sweeping.distributed_sweeper import DistributedSweeper
from ostinato.taskqueue.sweeping.lessor import DatabaseLessor
from ostinato.taskqueue.sweeping.sweep_options import LESSOR, SweepOptions
from ostinato.taskqueue.sweeping.sweep_task import first_tasks
from ostinato.testing.tcp_proxy import open_tcp_proxy
from tests.integration.taskqueue.cloud_tasks.queue_rig import At, Rig, killed, open_rig, reached_by
from tests.integration.taskqueue.conftest import until
from tests.integration.taskqueue.contract.conftest import CLASSES, LETTER, letter
from tests.integration.taskqueue.contract.local_cloud import LocalCloud, open_local_cloud
from tests.integration.taskqueue.reminders.remote_queue import (
    KINDS,
    FakeQueue,
    SweepTasks,
    let_retries_come_due,
    remaining,
    reminder,
    request_of,
    sweeper_of,
    write,
    write_stale,
)
from tests.integration.taskqueue.reminders.stale_reminders import sweep_together, write_many_stale

DELETION = "with handed_over"
both = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture
async def rig(cloud: LocalCloud, database: Database) -> AsyncIterator[Rig]:
    async with open_rig(cloud, database) as opened:
        yield opened


def distributed(db: Database, queue: FakeQueue, tasks: SweepTasks) -> DistributedSweeper:
    clock = SystemClock()
    submissions = Submissions(db, queue, clock)
    return DistributedSweeper(db, submissions, tasks, clock, lessors={LESSOR: DatabaseLessor(db, clock)})


async def test_before_the_commit_a_killed_process_leaves_nothing(rig: Rig) -> None:
    await killed(rig, "add", "before", "COMMIT", "1")
    await rig.has_run()


async def test_what_is_rolled_back_is_never_submitted(rig: Rig) -> None:
    with pytest.raises(ZeroDivisionError):
        async with rig.db.transaction() as tx:
            await rig.dispatcher.add(LETTER, letter(1), tx=tx)
            raise ZeroDivisionError
    async with rig.db.transaction() as tx:
        with pytest.raises(ZeroDivisionError):
            async with tx.savepoint():
                await rig.dispatcher.add(LETTER, letter(2), tx=tx)
                raise ZeroDivisionError
    await rig.has_run()


async def test_a_commit_that_landed_without_an_answer_is_swept(rig: Rig) -> None:
    async with open_tcp_proxy(rig.db.settings.url) as proxy:
        lose = At("before", "COMMIT", lambda: proxy.lose_answer_to(b"COMMIT"))
        async with open_database(DatabaseSettings(proxy.url(rig.db.settings.url)), gate=lose) as far:
            with pytest.raises(CommitOutcomeUnknown):
                await rig.add(db=far)
    assert (await rig.remaining(), rig.cloud.task_names()) == (1, [])
    await rig.sweep_what_is_stale()
    assert rig.inbox.numbers == []  # somebody may still submit it, for what a sweep knows
    await rig.sweep()
    await rig.has_run(1)


async def test_a_commit_that_did_not_land_adds_nothing(rig: Rig) -> None:
    async with open_tcp_proxy(rig.db.settings.url) as proxy:

        def swallow() -> None:
            proxy.black_hole()
            asyncio.get_running_loop().call_later(0.05, proxy.break_all)

        async with open_database(
            DatabaseSettings(proxy.url(rig.db.settings.url)), gate=At("before", "COMMIT", swallow)
        ) as far:
            with pytest.raises(CommitOutcomeUnknown):
                await rig.add(db=far)
    await rig.has_run()


async def test_of_a_transaction_that_was_tried_again_only_the_last_try_adds(rig: Rig) -> None:
    tries = 0

    async def work(tx: Tx) -> None:
        nonlocal tries
        tries += 1
        await rig.dispatcher.add(LETTER, letter(tries), tx=tx)
        if tries < 4:
            raise Contention("lost a race")

    await rig.db.transact(work)
    await rig.has_run(4)


async def test_a_process_killed_directly_after_its_commit_leaves_its_task_to_a_sweep(rig: Rig) -> None:
    await killed(rig, "add", "after", "COMMIT", "1")
    assert (await rig.remaining(), rig.cloud.task_names()) == (1, [])
    await rig.sweep()
    await rig.has_run(1)


async def test_what_a_caller_cancelled_in_its_commit_had_added_is_swept(rig: Rig) -> None:
    adding: list[asyncio.Task[None]] = []

    def cancel() -> None:
        adding[0].cancel()

    async with reached_by(rig, At("before", "COMMIT", cancel)) as database:
        adding.append(asyncio.ensure_future(rig.add(db=database)))
        with pytest.raises(asyncio.CancelledError):
            await adding[0]
    assert (await rig.remaining(), rig.cloud.task_names()) == (1, [])
    await rig.sweep()
    await rig.has_run(1)


async def test_what_is_added_on_a_bare_connection_of_the_callers_own_is_swept(rig: Rig) -> None:
    """Nobody tells the happy path of that commit."""
    connection = await connect(rig.db.settings)
    try:
        async with connection.transaction():
            await rig.dispatcher.add(LETTER, letter(1), tx=adopt(connection))
    finally:
        await connection.close()
    assert (await rig.remaining(), rig.cloud.task_names()) == (1, [])
    await rig.sweep()
    await rig.has_run(1)


async def test_while_cloud_tasks_is_away_each_sweep_tries_and_the_first_that_comes_through_ends_it(rig: Rig) -> None:
    rig.plan(FaultKind.REFUSED)
    await rig.add()
    await rig.until_asked()
    for _ in range(3):
        await rig.sweep()
    assert (await rig.remaining(), rig.inbox.numbers) == (1, [])
    assert await rig.db.fetchval("select attempts from tq_reminder") == 0  # it is no refusal
    rig.cloud.faults.clear()
    await rig.sweep()
    await rig.has_run(1)


async def test_a_submit_whose_answer_was_lost_is_one_task(rig: Rig) -> None:
    rig.plan(FaultKind.ANSWER_LOST, times=1)
    await rig.add()
    await rig.inbox.has(1)
    assert await rig.remaining() == 1
    await rig.has_run(1)


async def test_a_submit_whose_answer_was_lost_runs_again_when_its_name_was_free_before_the_sweep(
    database: Database,
) -> None:
    """Nothing but the name tells that the task was there: handlers have to bear it."""
    async with open_local_cloud(TombstoneSettings(tasks=timedelta(0))) as cloud, open_rig(cloud, database) as rig:
        rig.plan(FaultKind.ANSWER_LOST, times=1)
        await rig.add()
        await rig.inbox.has(1)
        await until(lambda: not cloud.task_names())
        await rig.sweep()
        await rig.has_run(1, 1)


async def test_what_is_refused_for_too_long_is_parked_and_runs_when_it_is_put_back(rig: Rig) -> None:
    rig.plan(FaultKind.REFUSED, code="PERMISSION_DENIED")
    await rig.add()
    await rig.until_asked()
    async with asyncio.timeout(10):
        while not await list_parked(rig.db):
            await rig.sweep()
    (parked,) = await list_parked(rig.db)
    assert (parked.queue, parked.task_class, await rig.remaining()) == ("mail", "letter", 0)
    assert parked.error.startswith("PERMISSION_DENIED")
    rig.cloud.faults.clear()
    assert await requeue_parked(rig.db, [parked.id]) == 1
    await rig.sweep()
    await rig.has_run(1)


@both
@pytest.mark.parametrize("payload", [b"\xff\xff\xff", b""], ids=["garbage", "no request"])
async def test_what_cannot_be_read_is_parked(database: Database, kind: str, payload: bytes) -> None:
    await write(database, [NewReminder(new_reminder_id(), payload, timedelta())])
    queue = FakeQueue()
    sweeper = sweeper_of(kind, database, queue, policy=RefusalPolicy(park_after=timedelta()))
    await sweeper.sweep()
    await let_retries_come_due(database)
    await sweeper.sweep()
    (parked,) = await list_parked(database)
    assert (parked.task_class, parked.attempts, parked.payload) == ("unknown", 2, payload)
    assert not queue.requests


async def test_a_process_killed_between_submit_and_deletion_leaves_one_task(rig: Rig) -> None:
    await killed(rig, "add", "before", DELETION, "1")
    assert await rig.remaining() == 1
    await rig.has_run(1)


async def test_a_deletion_that_fails_leaves_one_task(rig: Rig) -> None:
    def fail() -> None:
        raise Unavailable("out of reach")

    async with (
        reached_by(rig, At("before", DELETION, fail)) as database,
        open_rig_without_receiver(rig, database) as dispatcher,
    ):
        async with database.transaction() as tx:
            await dispatcher.add(LETTER, letter(1), tx=tx)
        await rig.inbox.has(1)
    assert await rig.remaining() == 1
    await rig.has_run(1)


@asynccontextmanager
async def open_rig_without_receiver(rig: Rig, db: Database) -> AsyncIterator[Dispatcher]:
    async with (
        open_cloud_tasks_queue(rig.cloud.settings, db) as remote,
        open_dispatcher(db, classes=CLASSES, backend=Backend.CLOUD_TASKS, remote=remote) as dispatcher,
    ):
        yield dispatcher


async def commit(db: Database, happy_path: HappyPath, made: NewReminder) -> None:
    async with db.transaction() as tx:
        await happy_path.remind(tx, [made])


@both
async def test_a_sweep_that_overtakes_a_slow_request_adds_no_second_task(database: Database, kind: str) -> None:
    made = reminder(time_left=timedelta(seconds=30))
    slow, quick = FakeQueue(gate=asyncio.Event()), FakeQueue()
    assert slow.gate is not None
    slow.tasks = quick.tasks  # two ways to one queue
    happy, sweep = (Submissions(database, queue, SystemClock()) for queue in (slow, quick))
    async with open_happy_path(happy, SystemClock()) as happy_path:
        await commit(database, happy_path, made)
        await until(lambda: slow.running)
        await database.execute("update tq_reminder set fresh_until = ostinato_now()")
        await sweeper_of(kind, database, quick, submissions=sweep).sweep()
        slow.gate.set()
    assert slow.tasks == {request_of(made.id)}
    assert await remaining(database) == 0
    assert sum(sweep.stats.processed[ClassPath("letter", Path.SWEEP)].counts) == 1
    assert ClassPath("letter", Path.HAPPY) not in happy.stats.processed  # nothing is counted twice
    assert happy.stats.count_submits(SubmitKey("letter", "mail", Path.HAPPY, "ALREADY_EXISTS")) == 1


async def test_of_a_sweeper_killed_in_its_work_a_sweep_after_its_lease_does_the_rest(rig: Rig) -> None:
    rig.plan(FaultKind.REFUSED)
    await asyncio.gather(*(rig.add(number) for number in range(120)))
    await rig.until_asked(120)
    rig.cloud.faults.clear()
    await rig.db.execute("update tq_reminder set fresh_until = ostinato_now()")
    await killed(rig, "sweep", "after", DELETION, "1")
    left = await rig.remaining()
    assert 0 < left < 120
    assert await rig.db.fetchval("select count(*) from tq_sweep_lease") == 1
    requests = rig.remote.submissions.stats.submits.copy()
    await sweeper_of(
        "distributed", rig.db, FakeQueue(), options=SweepOptions(shards=1), submissions=rig.remote.submissions
    ).sweep()
    assert rig.remote.submissions.stats.submits == requests  # the dead one has all of them still
    await rig.db.execute("update tq_sweep_lease set expires_at = expires_at - interval '1 min'")
    await rig.sweep()
    await rig.has_run(*range(120))


async def test_what_a_lease_was_too_short_for_is_left_to_the_next_sweep(database: Database) -> None:
    wanted = await write_stale(database, 20)
    queue = FakeQueue(gate=asyncio.Event())
    sweeper = distributed(database, queue, SweepTasks())
    (task,) = first_tasks(SweepOptions(shards=1))
    with pytest.raises(Ignore):
        await sweeper.handle(task, time_left=timedelta(milliseconds=500))
    assert queue.running == 0
    assert await remaining(database) == 20
    assert await database.fetchval("select count(*) from tq_sweep_lease") == 0
    queue.gate = None
    await sweeper.handle(task)
    assert (queue.tasks, await remaining(database)) == (wanted, 0)


async def test_without_a_lease_nothing_is_submitted_until_the_next_sweep(database: Database) -> None:
    wanted = await write_stale(database, 20)

    def fail() -> None:
        raise Unavailable("out of reach")

    queue, (task,) = FakeQueue(), first_tasks(SweepOptions(shards=1))
    gate = At("before", "insert into tq_sweep_lease", fail)
    async with open_database(database.settings, gate=gate) as broken:
        with pytest.raises(Ignore):  # which is answered 204: no sweep task is ever repeated
            await distributed(broken, queue, SweepTasks()).handle(task)
    assert (queue.tasks, await remaining(database)) == (set(), 20)
    await distributed(database, queue, SweepTasks()).handle(task)
    assert (queue.tasks, await remaining(database)) == (wanted, 0)


async def test_two_sweeps_begun_at_once_share_many_reminders_with_hardly_a_duplicate(
    database: Database, database_url: str
) -> None:
    await write_many_stale(database, 5000)
    queue = FakeQueue()
    async with open_database(DatabaseSettings(database_url)) as other:
        measure = await sweep_together([database, other], queue, options=SweepOptions(tasks_per_scan=128))
    assert measure.remaining == 0
    assert len(queue.tasks) == 5000
    assert measure.duplicates < 50


async def test_follow_ups_that_could_not_be_added_are_the_next_sweeps_and_keep_nothing_from_being_submitted(
    database: Database,
) -> None:
    wanted = await write_stale(database, 30)
    queue, tasks = FakeQueue(), SweepTasks(broken=True)
    sweeper = distributed(database, queue, tasks)
    with pytest.raises(Unavailable):
        await sweeper.sweep()
    (first,) = first_tasks(SweepOptions(shards=1, tasks_per_scan=10))
    with pytest.raises(Ignore):
        await sweeper.handle(first)
    assert len(queue.tasks) == 10
    await sweeper_of("distributed", database, queue).sweep()
    assert (queue.tasks, queue.duplicates, await remaining(database)) == (wanted, 0, 0)


@both
async def test_what_is_too_much_for_one_sweep_is_told_and_left_to_the_next(database: Database, kind: str) -> None:
    wanted = await write_stale(database, 200)
    queue = FakeQueue()
    options = SweepOptions(shards=1, tasks_per_scan=4, secondary_scan_shards=2)
    sweeper = sweeper_of(kind, database, queue, options=options)
    await sweeper.sweep()
    assert sweeper.stats.given_up > 0
    assert len(queue.tasks) == 4 + 2 * 4 + 4 * 4  # three levels
    for _ in range(200 // 28 + 1):
        await sweeper.sweep()
    assert queue.tasks == wanted
    assert queue.duplicates == 0


async def test_a_sweep_task_that_is_delivered_twice_submits_nothing_twice(database: Database) -> None:
    wanted = await write_stale(database, 200)
    queue = FakeQueue()
    sweeper = distributed(database, queue, SweepTasks())
    (task,) = first_tasks(SweepOptions(shards=1))
    await asyncio.gather(*(sweeper.handle(task) for _ in range(4)))
    assert queue.tasks == wanted
    assert queue.duplicates == 0


async def test_while_nobody_sweeps_only_what_was_not_submitted_waits_and_its_age_is_told(rig: Rig) -> None:
    rig.plan(FaultKind.REFUSED, times=2)
    for number in range(5):
        await rig.add(number)
    await until(lambda: len(rig.inbox.numbers) == 3)
    await rig.until_asked(5)
    await rig.db.execute("update tq_reminder set fresh_until = fresh_until - interval '1 hour'")
    registry, metrics = CollectorRegistry(), BacklogMetrics(SystemClock())
    registry.register(metrics)
    metrics.begin(rig.db)
    async with asyncio.timeout(10):
        while await rig.remaining() > 2:  # what was submitted is deleted a moment later
            await asyncio.sleep(0.01)
    await metrics.refresh()
    assert registry.get_sample_value("ostinato_taskqueue_reminders_depth", {"state": "waiting"}) == 2
    assert 3500 < (registry.get_sample_value("ostinato_taskqueue_reminders_oldest_stale_seconds") or 0) < 3600
    await rig.sweep()
    await rig.has_run(*range(5))


async def test_a_task_whose_2xx_was_lost_comes_again_as_its_second_attempt(rig: Rig) -> None:
    rig.cloud.faults.add(Fault("dispatch", FaultKind.ANSWER_LOST, times=1))
    await rig.add()
    await rig.has_run(1, 1)
    assert [task.attempt for task in rig.inbox.tasks] == [1, 2]
    assert len({task.id for task in rig.inbox.tasks}) == 1


async def test_what_was_added_to_a_queue_that_is_gone_runs_when_the_queue_is_there_again(database: Database) -> None:
    async with open_local_cloud(TombstoneSettings(queues=timedelta(0))) as cloud, open_rig(cloud, database) as rig:
        path = cloud.queue_path("mail")
        async with cloud.client as client:
            await client.delete_queue(name=path)
            await rig.add()
            await rig.until_asked()
            (refused,) = await until_refused(rig)
            assert refused.startswith("NOT_FOUND")
            await client.create_queue(parent=path.rpartition("/queues/")[0], queue={"name": path})
        await rig.sweep()
        await rig.has_run(1)


async def until_refused(rig: Rig) -> list[str]:
    async with asyncio.timeout(10):
        while not (found := await rig.db.fetch("select last_error from tq_reminder where attempts > 0")):
            await asyncio.sleep(0.01)
    return [row[0] for row in found]


class WrongClock(SystemClock):
    def __init__(self, wrong_by: timedelta) -> None:
        self._wrong_by = wrong_by

    def now(self) -> datetime:
        return super().now() + self._wrong_by


@pytest.mark.parametrize("hours", [-1, 1])
async def test_a_writer_with_a_wrong_clock_is_swept_neither_early_nor_late(
    cloud: LocalCloud, database: Database, hours: int
) -> None:
    """What is stale the database says, whose clock wrote down until when it is fresh."""
    async with open_rig(cloud, database, clock=WrongClock(timedelta(hours=hours))) as rig:
        rig.plan(FaultKind.REFUSED, times=1)
        await rig.add()
        await rig.until_asked()
        await rig.sweep_what_is_stale()
        assert (await rig.remaining(), rig.inbox.numbers) == (1, [])
        left = await database.fetchval("select fresh_until - ostinato_now() from tq_reminder")
        assert timedelta(seconds=30) < left <= timedelta(seconds=60)
        await rig.sweep()
        await rig.has_run(1)
