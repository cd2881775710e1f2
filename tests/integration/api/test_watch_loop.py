"""The one reader behind all watches: what it costs, how it is bounded, and how it bears a database that is away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from prometheus_client import CollectorRegistry

from ostinato.clock import SystemClock
from ostinato.errors import ResourceExhausted, Unavailable
from ostinato.jobstore.watch_store import WatchNews, WatchPlace
from ostinato.scheduling.invocation import InvocationStatus as S
from ostinato.scheduling.invocation_id import InvocationId
from ostinato.storage.database import Database
from ostinato.storage.transaction import Row
from ostinato_api.watch_loop import WatchLoop, WatchMetrics
from tests.integration.engine.runs import set_status, start_run
from tests.integration.engine.stage import Stage


class CountingDatabase:
    """Counts statements, and fails while `away`."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self.statements = 0
        self.away = False

    async def fetch(self, sql: str, *arguments: object) -> list[Row]:
        self.statements += 1
        if self.away:
            raise Unavailable("nobody answers")
        return await self._db.fetch(sql, *arguments)


@pytest.fixture
def counting(database: Database) -> CountingDatabase:
    return CountingDatabase(database)


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@asynccontextmanager
async def looking(
    counting: CountingDatabase, registry: CollectorRegistry, *, every: timedelta
) -> AsyncIterator[WatchLoop]:
    loop = WatchLoop(
        counting,  # type: ignore[arg-type]
        clock=SystemClock(),
        metrics=WatchMetrics(registry),
        every=every,
        patience=timedelta(milliseconds=300),
        max_watches=3,
    )
    running = asyncio.ensure_future(loop.run())
    yield loop
    running.cancel()


@pytest.fixture
async def loop(counting: CountingDatabase, registry: CollectorRegistry) -> AsyncIterator[WatchLoop]:
    async with looking(counting, registry, every=timedelta(milliseconds=30)) as opened:
        yield opened


@pytest.fixture
async def seldom(counting: CountingDatabase, registry: CollectorRegistry) -> AsyncIterator[WatchLoop]:
    """Looks by itself only when somebody knows that there is something to read."""
    async with looking(counting, registry, every=timedelta(hours=1)) as opened:
        yield opened


async def seen(loop: WatchLoop, invocation_id: int) -> WatchPlace:
    """The place of somebody who has read all there is."""
    place = WatchPlace(InvocationId(invocation_id))
    while place.is_eager:
        place = (await loop.next_news(place)).next_place
    return place


async def watchers(loop: WatchLoop, *places: WatchPlace) -> list[asyncio.Task[WatchNews]]:
    waiting = [asyncio.ensure_future(loop.next_news(place)) for place in places]
    await asyncio.sleep(0)
    return waiting


async def test_a_look_for_many_watchers_of_quiet_runs_is_one_statement(
    seldom: WatchLoop, counting: CountingDatabase, stage: Stage
) -> None:
    runs = [await start_run(stage, f"job-{number}") for number in range(20)]
    places = [await seen(seldom, run.id) for run in runs]
    waiting = await watchers(seldom, *places, *places)
    counting.statements = 0
    await seldom.look()
    assert counting.statements == 1
    for run in runs:
        await set_status(stage, run.id, S.RUNNING)
    counting.statements = 0
    await seldom.look()
    assert counting.statements == 2
    assert len(await asyncio.gather(*waiting)) == 40


async def test_without_watchers_nothing_is_asked(loop: WatchLoop, counting: CountingDatabase, stage: Stage) -> None:
    place = await seen(loop, (await start_run(stage)).id)
    (waiting,) = await watchers(loop, place)
    waiting.cancel()
    await asyncio.wait([waiting])
    await asyncio.sleep(0.1)  # a look that was under way
    counting.statements = 0
    await asyncio.sleep(0.2)
    assert counting.statements == 0


async def test_news_come_within_a_look(loop: WatchLoop, stage: Stage) -> None:
    run = await start_run(stage)
    (waiting,) = await watchers(loop, await seen(loop, run.id))
    await set_status(stage, run.id, S.RUNNING)
    async with asyncio.timeout(2):
        news = await waiting
    assert news.row is not None
    assert news.row["status"] == S.RUNNING


async def test_watches_are_bounded_and_the_refusal_says_when_to_repeat(
    loop: WatchLoop, registry: CollectorRegistry
) -> None:
    with loop.seat(), loop.seat(), loop.seat():
        assert registry.get_sample_value("ostinato_api_watches") == 3
        with pytest.raises(ResourceExhausted) as caught, loop.seat():
            pass
        assert caught.value.retry_after > timedelta(0)
    assert registry.get_sample_value("ostinato_api_watches") == 0
    with loop.seat():
        pass


async def test_a_database_that_is_away_for_a_moment_is_not_noticed(
    loop: WatchLoop, counting: CountingDatabase, stage: Stage
) -> None:
    run = await start_run(stage)
    place = await seen(loop, run.id)
    counting.away = True
    (waiting,) = await watchers(loop, place)
    await asyncio.sleep(0.1)
    counting.away = False
    await set_status(stage, run.id, S.RUNNING)
    async with asyncio.timeout(2):
        assert (await waiting).row is not None


async def test_watchers_are_told_when_the_database_stays_away_and_may_come_again(
    loop: WatchLoop, counting: CountingDatabase, stage: Stage
) -> None:
    run = await start_run(stage)
    place = await seen(loop, run.id)
    counting.away = True
    waiting = await watchers(loop, place, WatchPlace(run.id))
    async with asyncio.timeout(5):
        for each in waiting:
            with pytest.raises(Unavailable):
                await each
    counting.away = False
    async with asyncio.timeout(5):
        assert await seen(loop, run.id) == place


async def test_a_watcher_that_leaves_takes_nothing_from_another_at_the_same_place(
    loop: WatchLoop, stage: Stage
) -> None:
    run = await start_run(stage)
    place = await seen(loop, run.id)
    leaves, stays = await watchers(loop, place, place)
    leaves.cancel()
    await asyncio.wait([leaves])
    await set_status(stage, run.id, S.RUNNING)
    async with asyncio.timeout(2):
        assert (await stays).row is not None
