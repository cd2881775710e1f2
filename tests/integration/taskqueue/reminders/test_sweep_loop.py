"""Sweeps begin by themselves, once per interval, whoever of those that could begin them stalls or dies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from ostinato.clock import SystemClock
from ostinato.errors import Unavailable
from ostinato.storage.database import Database, DatabaseSettings, open_database
from ostinato.taskqueue.sweeping.lease_store import insert_lease
from ostinato.taskqueue.sweeping.partition import Partition
from ostinato.taskqueue.sweeping.sweep_loop import SWEEP_EVERY, SweepLoop
from ostinato.taskqueue.sweeping.sweep_stats import SweepStats
from ostinato.taskqueue.sweeping.sweep_turn_store import load_wait, take_turn
from tests.integration.taskqueue.reminders.remote_queue import KINDS, FakeQueue, reminder, sweeper_of, write

START = datetime(2026, 3, 1, tzinfo=UTC)


class CountingSweeper:
    def __init__(self, *, fails: bool = False) -> None:
        self.stats = SweepStats()
        self.sweeps = 0
        self._fails = fails

    async def sweep(self) -> None:
        self.sweeps += 1
        if self._fails:
            raise Unavailable("the queue of sweep tasks is out of reach")


class DatabaseTime:
    """Moves the clock that the database reads."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.passed = timedelta()

    async def set(self, passed: timedelta) -> None:
        self.passed = passed
        await self.db.execute("update testing_clock set now = $1", START + passed)

    async def advance(self, seconds: float) -> None:
        await self.set(self.passed + timedelta(seconds=seconds))


@pytest.fixture
async def time(virtual_database_url: str) -> AsyncIterator[DatabaseTime]:
    async with open_database(DatabaseSettings(virtual_database_url)) as db:
        await db.execute("insert into testing_clock (now) values ($1)", START)
        yield DatabaseTime(db)


async def test_of_many_at_once_one_takes_the_turn(database: Database) -> None:
    taken = await asyncio.gather(*(take_turn(database, SWEEP_EVERY) for _ in range(10)))
    assert taken.count(True) == 1


async def test_a_turn_comes_once_per_interval(time: DatabaseTime) -> None:
    assert await take_turn(time.db, SWEEP_EVERY)
    assert await load_wait(time.db, SWEEP_EVERY) == SWEEP_EVERY
    await time.advance(14.9)
    assert not await take_turn(time.db, SWEEP_EVERY)
    assert await load_wait(time.db, SWEEP_EVERY) == timedelta(seconds=0.1)
    await time.advance(0.1)
    assert await load_wait(time.db, SWEEP_EVERY) == timedelta()
    assert await take_turn(time.db, SWEEP_EVERY)


async def test_a_turn_that_was_taken_in_the_future_holds_up_nobody(time: DatabaseTime) -> None:
    assert await take_turn(time.db, SWEEP_EVERY)
    await time.advance(-3600)
    assert await take_turn(time.db, SWEEP_EVERY)


async def test_the_holder_of_a_lock_on_the_turn_holds_up_nobody_either(database: Database) -> None:
    """A process that stands still in the middle of its statement: others pass by and look again."""
    async with database.transaction() as tx:
        await tx.execute("select from tq_sweep_turn for update")
        async with asyncio.timeout(5):
            assert not await take_turn(database, SWEEP_EVERY)


async def test_each_of_many_loops_may_die_and_sweeps_begin_all_the_same(time: DatabaseTime) -> None:
    sweepers = [CountingSweeper() for _ in range(4)]
    loops = [SweepLoop(time.db, sweeper, SystemClock()) for sweeper in sweepers]
    for _ in range(4):
        waits = await asyncio.gather(*(loop.run_once() for loop in loops))
        assert all(wait <= 15 for wait in waits)
        winner = next(n for n, sweeper in enumerate(sweepers) if sweeper.sweeps)
        assert sum(sweeper.sweeps for sweeper in sweepers) == 1
        del loops[winner], sweepers[winner]  # it dies
        await time.advance(15)


async def test_a_sweep_that_could_not_be_begun_is_told_and_the_next_one_begins(time: DatabaseTime) -> None:
    sweeper = CountingSweeper(fails=True)
    loop = SweepLoop(time.db, sweeper, SystemClock())
    assert 0 < await loop.run_once() <= 15
    assert sweeper.stats.begin_failures == 1
    await time.advance(15)
    await loop.run_once()
    assert sweeper.sweeps == 2


async def test_the_loop_runs_until_it_is_cancelled(database: Database) -> None:
    sweeper = CountingSweeper()
    loop = asyncio.ensure_future(SweepLoop(database, sweeper, SystemClock(), every=timedelta(milliseconds=20)).run())
    async with asyncio.timeout(10):
        while sweeper.sweeps < 3:
            await asyncio.sleep(0.005)
    loop.cancel()
    with pytest.raises(asyncio.CancelledError):
        await loop
    assert sweeper.stats.begun >= 3


class Story:
    """A reminder whose submitter died at `phase` seconds after a sweep began, and what happens to later sweeps."""

    def __init__(self, time: DatabaseTime, kind: str) -> None:
        self.queue = FakeQueue()
        self._time = time
        self._loop = SweepLoop(time.db, sweeper_of(kind, time.db, self.queue), SystemClock())

    async def commit(self, phase: float) -> None:
        self._wait = await self._loop.run_once() - phase
        await self._time.advance(phase)
        await write(self._time.db, [reminder(time_left=None)])
        self._committed_at = self._time.passed

    async def until_turn_after(self, seconds: float) -> None:
        """Sweeps begin until the next one would be the first so long after the commit."""
        while True:
            await self._time.advance(self._wait)
            if self._time.passed - self._committed_at >= timedelta(seconds=seconds):
                return
            await self.sweep()

    async def sweep(self) -> None:
        self._wait = await self._loop.run_once()

    async def waited(self) -> float:
        """Seconds from the commit to the submit."""
        while not self.queue.tasks:
            await self.sweep()
            if not self.queue.tasks:
                await self._time.advance(self._wait)
        return (self._time.passed - self._committed_at).total_seconds()


PHASES = pytest.mark.parametrize("phase", [0.0, 0.001, 7.3, 14.999])


@PHASES
@pytest.mark.parametrize("kind", KINDS)
async def test_a_task_whose_submitter_crashed_is_submitted_within_a_minute_and_one_interval(
    time: DatabaseTime, kind: str, phase: float
) -> None:
    story = Story(time, kind)
    await story.commit(phase)
    await story.until_turn_after(60)
    assert 60 <= await story.waited() <= 75


@PHASES
@pytest.mark.parametrize("kind", KINDS)
async def test_a_process_that_dies_with_its_turn_delays_it_to_ninety_seconds(
    time: DatabaseTime, kind: str, phase: float
) -> None:
    story = Story(time, kind)
    await story.commit(phase)
    await story.until_turn_after(60)
    assert await take_turn(time.db, SWEEP_EVERY)
    assert 75 <= await story.waited() <= 90


@PHASES
async def test_a_sweeper_that_dies_holding_the_section_delays_it_by_another_minute(
    time: DatabaseTime, phase: float
) -> None:
    story = Story(time, "distributed")
    await story.commit(phase)
    await story.until_turn_after(60)
    everything = [Partition.universe(16)]
    for shard in range(16):
        async with time.db.transaction() as tx:
            await insert_lease(tx, f"reminders_{shard}_16", everything, timedelta(minutes=1))
    assert 120 <= await story.waited() <= 150
