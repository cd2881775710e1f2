"""After the commit: reminders are submitted and deleted at once, or left to the sweepers; nobody waits."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from ostinato.clock import SystemClock
from ostinato.errors import CommitOutcomeUnknown, Unavailable
from ostinato.storage.database import Database, DatabaseSettings, open_database
from ostinato.taskqueue.reminders.happy_path import HappyPath, HappyPathSettings, open_happy_path
from ostinato.taskqueue.reminders.reminder import NewReminder
from ostinato.taskqueue.reminders.reminder_stats import ClassPath, Path, SubmitKey
from ostinato.taskqueue.reminders.submissions import Submissions
from ostinato.taskqueue.reminders.submitting_port import SubmitResult
from tests.integration.engine.crashes import CrashAt
from tests.integration.taskqueue.conftest import until
from tests.integration.taskqueue.reminders.remote_queue import (
    DENIED,
    KINDS,
    UNAVAILABLE,
    FakeQueue,
    remaining,
    reminder,
    request_of,
    sweeper_of,
)

FRESH = timedelta(seconds=30)


class MovableClock(SystemClock):
    """Its monotonic time is what the test says."""

    def __init__(self) -> None:
        self.at = 1000.0

    def monotonic(self) -> float:
        return self.at


def fresh(count: int = 1) -> list[NewReminder]:
    return [reminder(time_left=FRESH) for _ in range(count)]


def requests_of(reminders: list[NewReminder]) -> set[bytes]:
    return {request_of(made.id) for made in reminders}


async def commit(db: Database, happy_path: HappyPath, reminders: list[NewReminder]) -> None:
    async with db.transaction() as tx:
        await happy_path.remind(tx, reminders)


async def test_what_is_committed_is_handed_over_and_its_reminder_deleted(database: Database) -> None:
    queue = FakeQueue()
    submissions = Submissions(database, queue, SystemClock())
    made = fresh(5)
    async with open_happy_path(submissions, SystemClock()) as happy_path:
        await commit(database, happy_path, made)
    assert queue.tasks == requests_of(made)
    assert queue.duplicates == 0
    assert await remaining(database) == 0
    stats = submissions.stats
    assert (stats.fresh["letter"], stats.stale["letter"], stats.left_behind["letter"]) == (5, 0, 0)
    assert sum(stats.processed[ClassPath("letter", Path.HAPPY)].counts) == 5
    assert stats.count_submits(SubmitKey("letter", "mail", Path.HAPPY, "OK")) == 5


async def test_nobody_waits_for_a_queue_that_does_not_answer(database: Database) -> None:
    queue = FakeQueue(gate=asyncio.Event())
    settings = HappyPathSettings(parallel=4, most_waiting=6, drain_seconds=0)
    submissions = Submissions(database, queue, SystemClock())
    async with open_happy_path(submissions, SystemClock(), settings) as happy_path:
        for _ in range(10):
            await commit(database, happy_path, fresh(2))
        await until(lambda: queue.running == 4)
    assert queue.most_running == 4
    assert await remaining(database) == 20  # all of it is left to the sweepers
    assert submissions.stats.left_behind["letter"] == 16  # the other four were asked for


async def test_what_waits_is_bounded_by_its_bytes_too(database: Database) -> None:
    queue = FakeQueue(gate=asyncio.Event())
    settings = HappyPathSettings(parallel=1, most_waiting_bytes=5000, drain_seconds=0)
    submissions = Submissions(database, queue, SystemClock())
    async with open_happy_path(submissions, SystemClock(), settings) as happy_path:
        await commit(database, happy_path, [reminder(time_left=FRESH, size=2000) for _ in range(4)])
        assert submissions.stats.left_behind["letter"] == 2


async def test_requests_are_made_at_once_up_to_the_bound(database: Database) -> None:
    queue = FakeQueue()
    submissions = Submissions(database, queue, SystemClock())
    async with open_happy_path(submissions, SystemClock(), HappyPathSettings(parallel=8)) as happy_path:
        await commit(database, happy_path, fresh(100))
    assert queue.most_running == 8
    assert len(queue.tasks) == 100


async def test_an_answer_that_was_waited_for_while_others_were_saved_is_saved_too(database: Database) -> None:
    may_answer = asyncio.Event()

    class TwoSpeeds(FakeQueue):
        async def submit(self, request: bytes) -> SubmitResult:
            if request == request_of(slow.id):
                await may_answer.wait()
            return await super().submit(request)

    slow, quick = fresh(2)
    submissions = Submissions(database, TwoSpeeds(), SystemClock())
    async with open_happy_path(submissions, SystemClock()) as happy_path:
        await commit(database, happy_path, [slow, quick])
        while await remaining(database) == 2:
            await asyncio.sleep(0.001)
        may_answer.set()
    assert await remaining(database) == 0


async def test_a_stale_reminder_is_left_to_the_sweepers(database: Database) -> None:
    """A long time passed between its insert and the commit, or the caller has no time left."""
    queue, clock = FakeQueue(), MovableClock()
    submissions = Submissions(database, queue, clock)
    async with open_happy_path(submissions, clock) as happy_path:
        async with database.transaction() as tx:
            await happy_path.remind(tx, fresh())
            clock.at += FRESH.total_seconds() + 0.001
        await commit(database, happy_path, [reminder(time_left=timedelta(seconds=-1))])
        async with database.transaction() as tx:
            await happy_path.remind(tx, fresh())
            clock.at += FRESH.total_seconds()  # still fresh at the very end of its time
    assert (submissions.stats.fresh["letter"], submissions.stats.stale["letter"]) == (1, 2)
    assert len(queue.requests) == 1
    assert await remaining(database) == 2


async def test_what_became_stale_while_it_waited_is_left_to_the_sweepers(database: Database) -> None:
    queue, clock = FakeQueue(gate=asyncio.Event()), MovableClock()
    submissions = Submissions(database, queue, clock)
    assert queue.gate is not None
    async with open_happy_path(submissions, clock, HappyPathSettings(parallel=1)) as happy_path:
        await commit(database, happy_path, fresh(3))
        await until(lambda: queue.running == 1)
        clock.at += FRESH.total_seconds() + 1
        queue.gate.set()
    assert len(queue.requests) == 1
    assert submissions.stats.left_behind["letter"] == 2
    assert await remaining(database) == 2


async def test_only_an_answer_that_says_so_deletes_the_reminder(database: Database) -> None:
    transient, denied, raising = fresh()[0], fresh()[0], fresh()[0]

    def answer(request: bytes) -> None:
        if request == request_of(raising.id):
            raise RuntimeError("a bug")

    queue = FakeQueue(
        answer=lambda request: (
            {request_of(transient.id): UNAVAILABLE, request_of(denied.id): DENIED}.get(request) or answer(request)
        )
    )
    async with open_happy_path(Submissions(database, queue, SystemClock()), SystemClock()) as happy_path:
        await commit(database, happy_path, [transient, denied, raising, *fresh(2)])
    rows = await database.fetch("select id, attempts, last_error from tq_reminder")
    assert {row["id"]: (row["attempts"], row["last_error"]) for row in rows} == {
        transient.id: (0, None),
        denied.id: (1, "PERMISSION_DENIED: not for you"),
        raising.id: (0, None),
    }


async def test_a_task_that_the_queue_had_already_is_done(database: Database) -> None:
    (made,) = fresh()
    queue = FakeQueue(tasks={request_of(made.id)})
    async with open_happy_path(Submissions(database, queue, SystemClock()), SystemClock()) as happy_path:
        await commit(database, happy_path, [made])
    assert await remaining(database) == 0


async def test_what_is_committed_after_the_end_is_left_to_the_sweepers(database: Database) -> None:
    queue = FakeQueue()
    async with open_happy_path(Submissions(database, queue, SystemClock()), SystemClock()) as happy_path:
        pass
    await commit(database, happy_path, fresh())
    assert not queue.requests
    assert await remaining(database) == 1


@pytest.mark.parametrize("kind", KINDS)
async def test_a_crash_at_any_step_loses_no_committed_task_and_adds_no_other(database_url: str, kind: str) -> None:
    """The process dies with its step; later another one sweeps."""
    async with open_database(DatabaseSettings(database_url)) as other:
        steps = 0
        while True:
            steps += 1
            gate, queue, made = CrashAt(), FakeQueue(), fresh(3)
            committed = True
            async with (
                open_database(DatabaseSettings(database_url), gate=gate) as database,
                open_happy_path(Submissions(database, queue, SystemClock()), SystemClock()) as happy_path,
            ):
                gate.left = steps
                try:
                    await commit(database, happy_path, made)
                except (Unavailable, CommitOutcomeUnknown):
                    committed = False
            await other.execute("update tq_reminder set fresh_until = ostinato_now()")
            await sweeper_of(kind, other, queue).sweep()
            assert queue.tasks == (requests_of(made) if committed else set())
            assert await remaining(other) == 0
            if not gate.step:
                break
        assert steps > 4
