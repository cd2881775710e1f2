"""One to four engines come and go under load: nothing fires twice or is lost, and what one leaves the others take."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio

from chaos.evidence import collect
from chaos.installation import open_services
from chaos.load import Load, open_load
from chaos.postgres import open_postgres
from chaos.services import Service
from chaos.target import open_target
from tests.e2e.ways import RATE, open_tasks_way, open_way

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(90), pytest.mark.asyncio(loop_scope="module")]

TAKEOVER_SECONDS = 10
LEASE_SECONDS = 6


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def load(home: Path) -> AsyncIterator[Load]:
    async with AsyncExitStack() as stack:
        target = await stack.enter_async_context(open_target(seed=3))
        postgres = await stack.enter_async_context(open_postgres(home / "postgres", home / "postgres.log"))
        way = await stack.enter_async_context(open_way(postgres.url, postgres.server.superuser_url(), home))
        cloud = await stack.enter_async_context(open_tasks_way(home))
        installed = await stack.enter_async_context(open_services(postgres, target, home, way, cloud=cloud))
        await installed.begin()
        opened = await stack.enter_async_context(open_load(installed, RATE, seed=3))
        await opened.works_again()
        yield opened


def log_of(service: Service) -> list[str]:
    """Whole lines: their events."""
    text = service.log.read_text(encoding="utf-8")
    return [json.loads(line)["event"] for line in text.splitlines() if line.startswith("{")]


async def until_it_says(service: Service, words: str) -> None:
    async with asyncio.timeout(30):
        while not any(words in event for event in log_of(service)):
            await asyncio.sleep(0.1)


async def test_engines_that_join_share_the_work(load: Load) -> None:
    joining = [load.installed.start_engine() for _ in range(2)]
    await asyncio.gather(*(engine.until_ready() for engine in joining))
    assert len(load.installed.engines) == 4
    assert await load.works_again() < TAKEOVER_SECONDS


async def test_an_engine_that_is_asked_to_leave_breaks_off_no_call(load: Load) -> None:
    """It waits for what its calls answer: none is made again, and no run fails."""
    calls = load.installed.target.calls
    before = set(calls)
    for engine in load.installed.engines[2:]:
        engine.leave()
    async with asyncio.timeout(30):
        while len(load.installed.running) > 4:
            await asyncio.sleep(0.05)
    assert await load.works_again() < TAKEOVER_SECONDS
    assert {key: count for key, count in calls.items() if count > 1 and key not in before} == {}
    assert load.installed.journal.complaints == []


async def test_what_a_killed_engine_had_taken_is_run_by_the_others(load: Load) -> None:
    for engine in list(load.installed.engines):
        engine.kill(away=0)
        assert await load.works_again("sleeping-0", "calling-0", "tick-noop") < LEASE_SECONDS + TAKEOVER_SECONDS
        await load.installed.until_ready()


async def test_an_engine_frozen_past_its_lease_is_fenced_when_it_goes_on(load: Load) -> None:
    frozen, _ = load.installed.engines
    freezing = asyncio.create_task(frozen.freeze(LEASE_SECONDS + 3))
    assert await load.works_again("sleeping-0", "calling-0") < LEASE_SECONDS + TAKEOVER_SECONDS
    await freezing
    await until_it_says(frozen, "lost its lease")
    assert await load.works_again() < TAKEOVER_SECONDS


async def test_afterwards_nothing_was_lost_or_fired_twice(load: Load) -> None:
    assert await load.settle() == []
    evidence = await collect(load.installed.postgres.owner_url)
    assert len(load.emitter.accepted) > 500
    assert {rule: found for rule, found in load.audit(evidence).items() if found} == {}


async def test_afterwards_all_drain(load: Load) -> None:
    await load.installed.end()
    assert load.installed.journal.complaints == []
