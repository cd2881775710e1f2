"""Both sweepers keep the same promises: what was left behind is submitted, once if possible, and nothing is lost."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import Callable
from datetime import timedelta
from random import Random

import pytest

from ostinato.clock import SystemClock
from ostinato.errors import FailedPrecondition, Ignore
from ostinato.pb.taskqueue.v1.sweep_pb2 import SweepTask
from ostinato.storage.database import Database, DatabaseSettings, open_database
from ostinato.taskqueue.reminders.parked_store import list_parked, requeue_parked
from ostinato.taskqueue.reminders.refusal_policy import RefusalPolicy
from ostinato.taskqueue.reminders.reminder import new_reminder_id
from ostinato.taskqueue.reminders.reminder_stats import ClassPath, Path, SubmitKey
from ostinato.taskqueue.reminders.submissions import Submissions
from ostinato.taskqueue.reminders.submitting_port import SubmitResult, SubmitVerdict
from ostinato.taskqueue.sweeping.distributed_sweeper import DistributedSweeper
from ostinato.taskqueue.sweeping.lessor import DatabaseLessor
from ostinato.taskqueue.sweeping.scan import ScanStatus
from ostinato.taskqueue.sweeping.sweep_options import LESSOR, SweepOptions
from ostinato.taskqueue.sweeping.sweep_stats import ScanKey
from ostinato.taskqueue.sweeping.sweep_task import first_tasks, title_of
from tests.integration.engine.crashes import CrashAt
from tests.integration.taskqueue.conftest import until
from tests.integration.taskqueue.reminders.remote_queue import (
    DENIED,
    KINDS,
    UNAVAILABLE,
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

SMALL = SweepOptions(shards=4, tasks_per_scan=20, secondary_scan_shards=4)  # follow-ups with few reminders
both = pytest.mark.parametrize("kind", KINDS)


@both
async def test_an_empty_table_costs_one_scan_per_shard(database: Database, kind: str) -> None:
    queue = FakeQueue()
    sweeper = sweeper_of(kind, database, queue)
    await sweeper.sweep()
    assert not queue.requests
    assert sweeper.stats.batches == 0
    assert sum(sweeper.stats.scans[ScanKey(ScanStatus.OK, 0)].counts) == 16


@both
async def test_stale_reminders_are_submitted_once_and_deleted(database: Database, kind: str) -> None:
    queue = FakeQueue()
    wanted = await write_stale(database, 500)
    submissions = Submissions(database, queue, SystemClock())
    sweeper = sweeper_of(kind, database, queue, options=SMALL, submissions=submissions)
    await sweeper.sweep()
    assert queue.tasks == wanted
    assert queue.duplicates == 0
    assert await remaining(database) == 0
    assert sum(submissions.stats.processed[ClassPath("letter", Path.SWEEP)].counts) == 500
    assert submissions.stats.count_submits(SubmitKey("letter", "mail", Path.SWEEP, "OK")) == 500
    assert sweeper.stats.scanned.total() == 500
    assert {key.level for key in sweeper.stats.scans} >= {0, 1}


@both
async def test_fresh_reminders_are_left_to_whoever_wrote_them(database: Database, kind: str) -> None:
    queue = FakeQueue()
    await write(database, [reminder(time_left=None) for _ in range(50)])
    wanted = await write_stale(database, 50)
    await sweeper_of(kind, database, queue, options=SMALL).sweep()
    assert queue.tasks == wanted
    assert await remaining(database) == 50


@both
async def test_a_task_whose_creation_was_not_answered_is_added_once(database: Database, kind: str) -> None:
    wanted = await write_stale(database, 30)
    queue = FakeQueue(unheard=lambda _: UNAVAILABLE)
    await sweeper_of(kind, database, queue).sweep()
    assert await remaining(database) == 30
    queue.unheard = lambda _: None
    await sweeper_of(kind, database, queue).sweep()
    assert queue.tasks == wanted
    assert await remaining(database) == 0


@both
@pytest.mark.parametrize(
    "code", ["INTERNAL", "UNKNOWN", "UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED", "RESOURCE_EXHAUSTED", "ABORTED"]
)
async def test_passing_failures_keep_reminders_for_the_next_sweep_as_they_are(
    database: Database, kind: str, code: str
) -> None:
    wanted = await write_stale(database, 5)
    queue = FakeQueue(answer=lambda _: SubmitResult(SubmitVerdict.KEEP, code))
    await sweeper_of(kind, database, queue).sweep()
    assert await database.fetchval("select count(*) from tq_reminder where attempts = 0") == 5
    queue.answer = lambda _: None
    await sweeper_of(kind, database, queue).sweep()
    assert queue.tasks == wanted


@both
async def test_a_refused_reminder_is_tried_with_a_distance_and_parked_in_the_end(database: Database, kind: str) -> None:
    good, bad = await write_stale(database, 20), reminder()
    await write(database, [bad])
    queue = FakeQueue(answer=lambda request: DENIED if request == request_of(bad.id) else None)
    submissions = Submissions(database, queue, SystemClock(), policy=RefusalPolicy(park_after=timedelta()))
    sweeper = sweeper_of(kind, database, queue, submissions=submissions)
    await sweeper.sweep()
    await sweeper.sweep()  # it is not due yet
    assert queue.tasks == good
    assert queue.requests[request_of(bad.id)] == 1
    await let_retries_come_due(database)
    await sweeper.sweep()
    (parked,) = await list_parked(database)
    assert (parked.id, parked.task_class, parked.error) == (bad.id, "letter", "PERMISSION_DENIED: not for you")
    assert await remaining(database) == 0
    assert (submissions.stats.refused["letter"], submissions.stats.parked["letter"]) == (2, 1)
    queue.answer = lambda _: None
    await requeue_parked(database, [bad.id])
    await sweeper.sweep()
    assert queue.tasks == {*good, request_of(bad.id)}


@both
async def test_reminders_that_are_gone_meanwhile_are_counted_and_not_submitted(database: Database, kind: str) -> None:
    await write_stale(database, 10)
    queue = FakeQueue()
    submissions = Submissions(database, queue, SystemClock())
    result = await submissions.submit_batch([new_reminder_id()])
    assert (result.done, result.failed, submissions.stats.missing) == (0, 0, 1)
    await sweeper_of(kind, database, queue, submissions=submissions).sweep()
    assert submissions.stats.missing == 1


def failing_in_every_way(random: Random) -> tuple[Callable[[bytes], SubmitResult | None], ...]:
    def before(_: bytes) -> SubmitResult | None:
        chance = random.random()
        if chance < 0.1:
            raise RuntimeError("a submitter that breaks its promise")
        return UNAVAILABLE if chance < 0.3 else DENIED if chance < 0.4 else None

    def after(_: bytes) -> SubmitResult | None:
        return UNAVAILABLE if random.random() < 0.3 else None

    return before, after


@both
async def test_a_queue_that_fails_in_every_way_gets_all_in_the_end(database: Database, kind: str) -> None:
    wanted = await write_stale(database, 300)
    before, after = failing_in_every_way(Random(4))
    queue = FakeQueue(answer=before, unheard=after)
    sweeper = sweeper_of(kind, database, queue, options=SMALL)
    for _ in range(30):
        await sweeper.sweep()
        await let_retries_come_due(database)
        if not await remaining(database):
            break
    assert queue.tasks == wanted
    assert await remaining(database) == 0


@both
async def test_a_database_that_fails_at_any_step_loses_nothing(database_url: str, kind: str) -> None:
    """A step is not made, or its answer is lost; the sweep after it does the rest."""
    async with open_database(DatabaseSettings(database_url)) as healthy:
        steps = 0
        while True:
            steps += 1
            gate, queue = CrashAt(), FakeQueue()
            wanted = await write_stale(healthy, 3)
            async with open_database(DatabaseSettings(database_url), gate=gate) as database:
                gate.left = steps
                await sweeper_of(kind, database, queue, options=SweepOptions(shards=1)).sweep()
            await healthy.execute("update tq_sweep_lease set expires_at = ostinato_now()")
            await sweeper_of(kind, healthy, queue, options=SweepOptions(shards=1)).sweep()
            assert queue.tasks == wanted
            assert await remaining(healthy) == 0
            if not gate.step:
                break
        assert steps >= 4


@both
async def test_a_sweep_that_is_cancelled_keeps_what_was_not_answered(database: Database, kind: str) -> None:
    wanted = await write_stale(database, 40)
    queue = FakeQueue(gate=asyncio.Event())
    sweep = asyncio.ensure_future(sweeper_of(kind, database, queue, options=SweepOptions(shards=1)).sweep())
    await until(lambda: queue.running)
    sweep.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sweep
    assert queue.running == 0
    assert await remaining(database) == 40
    assert await database.fetchval("select count(*) from tq_sweep_lease") == 0
    queue.gate = None
    await sweeper_of(kind, database, queue).sweep()
    assert queue.tasks == wanted


@both
async def test_requests_at_once_are_bounded(database: Database, kind: str) -> None:
    await write_stale(database, 1500)
    queue = FakeQueue()
    await sweeper_of(kind, database, queue, options=SweepOptions(shards=1)).sweep()
    assert queue.most_running <= 128
    assert queue.most_running >= 16


async def test_in_process_one_sweep_runs_at_a_time(database: Database) -> None:
    queue = FakeQueue(gate=asyncio.Event())
    assert queue.gate is not None
    await write_stale(database, 1)
    sweeper = sweeper_of("in process", database, queue)
    first = asyncio.ensure_future(sweeper.sweep())
    await until(lambda: queue.running)
    with pytest.raises(FailedPrecondition, match="a sweep is already running"):
        await sweeper.sweep()
    queue.gate.set()
    await first
    await sweeper.sweep()


def test_a_sweep_begins_with_tasks_that_carry_all_options() -> None:
    tasks = first_tasks(SweepOptions(shards=16, tasks_per_scan=7, secondary_scan_shards=3))
    assert len(tasks) == 16
    assert tasks[0].partition == "0_1" + "0" * 31
    assert tasks[15].partition == "f" + "0" * 31 + "_1" + "0" * 32
    assert [tasks[3].lease_section, title_of(tasks[3])] == ["reminders_3_16", "l0_3_16"]
    assert (tasks[3].tasks_per_scan, tasks[3].secondary_scan_shards, tasks[3].key_space_bytes) == (7, 3, 16)


def distributed(db: Database, queue: FakeQueue, tasks: SweepTasks) -> DistributedSweeper:
    clock = SystemClock()
    submissions = Submissions(db, queue, clock)
    return DistributedSweeper(db, submissions, tasks, clock, lessors={LESSOR: DatabaseLessor(db, clock)})


async def test_follow_ups_are_one_level_deeper_in_the_same_section(database: Database) -> None:
    await write_stale(database, 30)
    tasks = SweepTasks()
    (first,) = first_tasks(SweepOptions(shards=1, tasks_per_scan=10, secondary_scan_shards=4))
    await distributed(database, FakeQueue(), tasks).handle(first)
    assert len(tasks.added) in {2, 3, 4}
    for task in tasks.added:
        expected = SweepTask()
        expected.CopyFrom(first)
        expected.level, expected.partition = 1, task.partition
        assert task == expected


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("partition", "nonsense"),
        ("partition", "5_1"),
        ("partition", "0_1" + "0" * 33),
        ("lessor", "nobody"),
        ("lease_section", ""),
        ("key_space_bytes", 8),
        ("level", 3),
        ("level", -1),
        ("tasks_per_scan", 0),
        ("secondary_scan_shards", -1),
    ],
)
async def test_a_task_that_makes_no_sense_is_dropped_and_told(
    database: Database, caplog: pytest.LogCaptureFixture, field: str, value: str | int
) -> None:
    await write_stale(database, 3)
    queue = FakeQueue()
    sweeper = distributed(database, queue, SweepTasks())
    (task,) = first_tasks(SweepOptions(shards=1))
    setattr(task, field, value)
    with pytest.raises(Ignore):
        await sweeper.handle(task)
    assert sweeper.stats.tasks_failed == 1
    assert f"{field}:" in caplog.text
    assert not queue.requests


async def test_a_failed_batch_is_told_though_a_slower_one_ends_well_after_it(database: Database) -> None:
    made = sorted((reminder() for _ in range(60)), key=lambda each: each.id)  # a batch is 50
    await write(database, made)
    first, last = request_of(made[0].id), request_of(made[-1].id)
    first_failed = asyncio.Event()

    class OneFails(FakeQueue):
        async def submit(self, request: bytes) -> SubmitResult:
            if request == last:
                await first_failed.wait()
            return UNAVAILABLE if request == first else await super().submit(request)

    sweeper = distributed(database, OneFails(), SweepTasks())
    (task,) = first_tasks(SweepOptions(shards=1))
    handling = asyncio.ensure_future(sweeper.handle(task))
    while await remaining(database) != 11:
        await asyncio.sleep(0.001)
    first_failed.set()
    with pytest.raises(Ignore):
        await handling


@both
async def test_memory_does_not_grow_with_what_was_left_behind(database: Database, kind: str) -> None:
    """Payloads are in memory a few batches at a time."""
    peaks = []
    for count in (800, 4000):
        await write(database, [reminder(size=4000) for _ in range(count)])
        sweeper = sweeper_of(kind, database, _Forgetful(), options=SweepOptions(shards=4, tasks_per_scan=64))
        tracemalloc.start()
        await sweeper.sweep()
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert await remaining(database) == 0
    assert peaks[1] < 1.5 * peaks[0] + (1 << 20)


class _Forgetful(FakeQueue):
    """What it was told is nobody's memory."""

    async def submit(self, request: bytes) -> SubmitResult:
        del request
        await asyncio.sleep(0)
        return SubmitResult(SubmitVerdict.DONE, "OK")
