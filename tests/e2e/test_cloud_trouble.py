"""Services under load whose tasks wait in Cloud Tasks: it refuses, loses answers and delivers twice, and each service
is killed; all goes on by itself, and nothing was lost or done twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio

from chaos.cloud import FAULTS, open_cloud
from chaos.evidence import collect
from chaos.installation import open_services
from chaos.load import Load, open_load
from chaos.postgres import open_postgres
from chaos.service_logs import read_logs
from chaos.target import open_target
from tests.e2e.ways import open_way

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120), pytest.mark.asyncio(loop_scope="module")]

RECOVERY_SECONDS = 30
RATE = 15


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def load(home: Path) -> AsyncIterator[Load]:
    async with AsyncExitStack() as stack:
        target = await stack.enter_async_context(open_target(seed=5))
        postgres = await stack.enter_async_context(open_postgres(home / "postgres", home / "postgres.log"))
        way = await stack.enter_async_context(open_way(postgres.url, postgres.server.superuser_url(), home))
        cloud = await stack.enter_async_context(open_cloud(home))
        installed = await stack.enter_async_context(open_services(postgres, target, home, way, cloud=cloud))
        await installed.begin()
        opened = await stack.enter_async_context(open_load(installed, RATE, seed=5))
        await opened.works_again()
        yield opened


async def works_again(load: Load) -> float:
    async with asyncio.timeout(60):
        return await load.works_again()


async def test_it_goes_on_after_a_death_of_each_service_while_cloud_tasks_fails_in_every_way(load: Load) -> None:
    assert load.installed.cloud is not None
    await load.installed.cloud.plan(*FAULTS)
    for service in load.installed.services:
        service.kill(away=0)
    await load.installed.until_ready()
    await works_again(load)
    await load.installed.cloud.plan()
    assert await works_again(load) < RECOVERY_SECONDS


async def test_it_goes_on_after_cloud_tasks_was_away(load: Load) -> None:
    assert load.installed.cloud is not None
    accepted = len(load.emitter.accepted)
    await load.installed.cloud.plan({"method": "*", "kind": "REFUSED", "code": "UNAVAILABLE"})
    async with asyncio.timeout(30):
        while len(load.emitter.accepted) < accepted + RATE:  # nobody who adds waits for it
            await asyncio.sleep(0.05)
    await load.installed.cloud.plan()
    assert await works_again(load) < RECOVERY_SECONDS


async def test_afterwards_nothing_was_lost_or_done_twice(load: Load) -> None:
    assert await load.settle() == []
    evidence = await collect(load.installed.postgres.owner_url)
    assert len(load.emitter.accepted) > 100
    assert {rule: found for rule, found in load.audit(evidence).items() if found} == {}
    await load.installed.end()
    assert load.installed.journal.complaints == []
    assert read_logs(load.installed.folder)[1] == []
