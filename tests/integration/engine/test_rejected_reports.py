"""What notes rejected reports: bounded, cheap under a flood, and not thrown by a database that is away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from ostinato.auth.notification_token import TokenFault, TokenRejected, TokenRejection
from ostinato.clock import SystemClock
from ostinato.errors import Unavailable
from ostinato.jobflow.rejected_reports import RejectedReports
from ostinato.jobstore.invocation_store import StoredInvocation
from ostinato.storage.database import Database
from tests.integration.engine.runs import start_run
from tests.integration.engine.stage import Stage


@dataclass
class CountingDatabase:
    """Counts transactions; fails while `away`, and hangs while `silent`."""

    db: Database
    away: bool = False
    silent: bool = False
    dawdles: bool = False  # the answer to a commit comes a little later
    transactions: int = 0
    written: asyncio.Event = field(default_factory=asyncio.Event)

    async def transact(self, work: Callable[[Any], Awaitable[None]]) -> None:
        self.transactions += 1
        if self.silent:
            await asyncio.Event().wait()
        if self.away:
            raise Unavailable("nobody answers")
        await self.db.transact(work)
        self.written.set()
        if self.dawdles:
            await asyncio.sleep(0)


class SteppedClock(SystemClock):
    """Each pause lasts until the test lets it end."""

    def __init__(self) -> None:
        self.pauses: list[float] = []
        self.pausing = asyncio.Event()
        self._go_on = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.pausing.set()
        await self._go_on.wait()
        self._go_on.clear()

    async def next_pause(self) -> None:
        """Ends this one and returns in the next."""
        async with asyncio.timeout(5):
            await self.pausing.wait()
            self.pausing.clear()
            self._go_on.set()
            await self.pausing.wait()


@pytest.fixture
def counting(database: Database) -> CountingDatabase:
    return CountingDatabase(database)


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock()


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
async def run(stage: Stage) -> StoredInvocation:
    return await start_run(stage)


@pytest.fixture
def rejected(counting: CountingDatabase, clock: SteppedClock, registry: CollectorRegistry) -> RejectedReports:
    return RejectedReports(
        counting,  # type: ignore[arg-type]
        clock=clock,
        registry=registry,
        patience=timedelta(milliseconds=50),
        max_held=6,
    )


@asynccontextmanager
async def running(rejected: RejectedReports) -> AsyncIterator[None]:
    task = asyncio.ensure_future(rejected.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def reject(rejected: RejectedReports, run: int, job: int, fault: TokenFault = TokenFault.WRONG_KEY) -> None:
    with pytest.raises(TokenRejected), rejected.noted():
        raise TokenRejected(TokenRejection(run, job, fault))


async def counts(stage: Stage) -> list[tuple[int, int]]:
    rows = await stage.db.fetch("select fault, count from rejected_report order by fault")
    return [(row["fault"], row["count"]) for row in rows]


async def test_a_flood_for_one_run_is_a_statement_a_second(
    rejected: RejectedReports, stage: Stage, run: StoredInvocation, counting: CountingDatabase, clock: SteppedClock
) -> None:
    async with running(rejected):
        reject(rejected, run.id, run.job_id)
        await clock.pausing.wait()
        for _ in range(500):
            reject(rejected, run.id, run.job_id)
        reject(rejected, run.id, run.job_id, TokenFault.EXPIRED)
        await clock.next_pause()
    assert await counts(stage) == [(TokenFault.WRONG_KEY, 501), (TokenFault.EXPIRED, 1)]
    assert (counting.transactions, clock.pauses) == (2, [1.0, 1.0])


async def test_without_rejections_nothing_is_asked(rejected: RejectedReports, counting: CountingDatabase) -> None:
    async with running(rejected):
        await asyncio.sleep(0)
        with rejected.noted():
            pass
        with pytest.raises(TokenRejected), rejected.noted():
            raise TokenRejected  # too malformed to name a run
        await asyncio.sleep(0)
    await rejected.drain()
    assert counting.transactions == 0


async def test_what_is_held_is_bounded_and_what_is_left_out_is_counted(
    rejected: RejectedReports, stage: Stage, run: StoredInvocation, registry: CollectorRegistry
) -> None:
    reject(rejected, run.id, run.job_id)
    for made_up in range(10):
        reject(rejected, made_up, run.job_id)
    reject(rejected, run.id, run.job_id)  # is held already
    reject(rejected, run.id, run.job_id, TokenFault.EXPIRED)  # nobody can make that up
    await rejected.drain()
    assert await counts(stage) == [(TokenFault.WRONG_KEY, 2), (TokenFault.EXPIRED, 1)]
    assert noted(registry, "NOTED") == 4
    assert noted(registry, "DROPPED") == 8
    reject(rejected, run.id, run.job_id)  # there is room again
    await rejected.drain()
    assert await counts(stage) == [(TokenFault.WRONG_KEY, 3), (TokenFault.EXPIRED, 1)]


def noted(registry: CollectorRegistry, outcome: str) -> float | None:
    return registry.get_sample_value("ostinato_rejected_reports_total", {"fault": "WRONG_KEY", "outcome": outcome})


@pytest.mark.parametrize("trouble", ["away", "silent"])
async def test_while_the_database_is_away_they_are_kept_and_it_is_asked_less_and_less(
    rejected: RejectedReports,
    stage: Stage,
    run: StoredInvocation,
    counting: CountingDatabase,
    clock: SteppedClock,
    caplog: pytest.LogCaptureFixture,
    trouble: str,
) -> None:
    setattr(counting, trouble, True)
    async with running(rejected):
        reject(rejected, run.id, run.job_id)
        await clock.next_pause()
        reject(rejected, run.id, run.job_id)
        await clock.next_pause()
        setattr(counting, trouble, False)
        await clock.next_pause()
    assert clock.pauses == [1.0, 2.0, 4.0, 1.0]
    assert await counts(stage) == [(TokenFault.WRONG_KEY, 2)]
    told = [record for record in caplog.records if "rejected reports were not recorded" in record.message]
    assert [record.levelname for record in told] == ["WARNING"] * 3


async def test_what_is_noted_during_a_write_is_written_next(
    rejected: RejectedReports, stage: Stage, run: StoredInvocation, counting: CountingDatabase, clock: SteppedClock
) -> None:
    async with running(rejected):
        async with stage.db.transaction() as holder:
            await holder.execute("lock table rejected_report in share mode")
            reject(rejected, run.id, run.job_id)
            while not counting.transactions:
                await asyncio.sleep(0)
            reject(rejected, run.id, run.job_id)
        await clock.next_pause()
    assert await counts(stage) == [(TokenFault.WRONG_KEY, 2)]


async def test_a_write_that_is_under_way_at_the_end_counts_once(
    rejected: RejectedReports, stage: Stage, run: StoredInvocation, counting: CountingDatabase
) -> None:
    counting.dawdles = True
    async with running(rejected):
        reject(rejected, run.id, run.job_id)
        await counting.written.wait()
    await rejected.drain()
    assert await counts(stage) == [(TokenFault.WRONG_KEY, 1)]


async def test_at_the_end_what_is_held_is_written_or_given_up_in_bounded_time(
    rejected: RejectedReports, stage: Stage, run: StoredInvocation, counting: CountingDatabase, clock: SteppedClock
) -> None:
    async with running(rejected):
        reject(rejected, run.id, run.job_id)
        await clock.pausing.wait()
        reject(rejected, run.id, run.job_id)
    assert await counts(stage) == [(TokenFault.WRONG_KEY, 1)]
    await rejected.drain()
    assert await counts(stage) == [(TokenFault.WRONG_KEY, 2)]
    counting.silent = True
    reject(rejected, run.id, run.job_id)
    async with asyncio.timeout(5):
        await rejected.drain()
