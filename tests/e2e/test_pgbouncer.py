"""All services through a pgbouncer in transaction mode: what holds without it holds with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from chaos.evidence import collect
from chaos.fault_plan import DatabaseFault, PlannedFault
from chaos.installation import open_services
from chaos.load import Load, open_load
from chaos.postgres import Postgres, open_postgres
from chaos.service_logs import read_logs
from chaos.target import open_target
from ostinato.testing.pgbouncer import PgBouncer
from tests.e2e.ways import RATE, open_pooled_way, open_tasks_way, settings_through

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120), pytest.mark.asyncio(loop_scope="module")]

RECOVERY_SECONDS = 10


@dataclass
class Behind:
    """The load, the server, and the pgbouncer before it."""

    load: Load
    postgres: Postgres
    bouncer: PgBouncer

    async def works_again(self) -> float:
        async with asyncio.timeout(60):
            return await self.load.works_again()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def behind(home: Path) -> AsyncIterator[Behind]:
    async with AsyncExitStack() as stack:
        target = await stack.enter_async_context(open_target(seed=4))
        postgres = await stack.enter_async_context(open_postgres(home / "postgres", home / "postgres.log"))
        superuser = postgres.server.superuser_url()
        bouncer = await stack.enter_async_context(open_pooled_way(postgres.url, superuser, home))
        cloud = await stack.enter_async_context(open_tasks_way(home))
        through = settings_through(bouncer)
        installed = await stack.enter_async_context(open_services(postgres, target, home, through, cloud=cloud))
        await installed.begin()
        load = await stack.enter_async_context(open_load(installed, RATE, seed=4))
        await load.works_again()
        yield Behind(load, postgres, bouncer)


async def test_it_goes_on_after_a_restart_of_the_server(behind: Behind) -> None:
    await behind.postgres.suffer(PlannedFault(after=0, kind=DatabaseFault.FAST, choice=0, lasts=0.2))
    assert await behind.works_again() < RECOVERY_SECONDS


async def test_it_goes_on_after_a_death_of_the_pgbouncer(behind: Behind) -> None:
    behind.bouncer.kill()
    await behind.bouncer.start()
    assert await behind.works_again() < RECOVERY_SECONDS


async def test_it_goes_on_after_a_death_of_each_service(behind: Behind) -> None:
    for service in behind.load.installed.services:
        service.kill(away=0)
    await behind.load.installed.until_ready()
    assert await behind.works_again() < RECOVERY_SECONDS


async def test_nobody_tries_to_listen_through_it(behind: Behind) -> None:
    assert [event for event in read_logs(behind.load.installed.folder)[0] if "listening" in event] == []


async def test_afterwards_nothing_was_lost_or_done_twice(behind: Behind) -> None:
    assert await behind.load.settle() == []
    evidence = await collect(behind.postgres.owner_url)
    assert len(behind.load.emitter.accepted) > 200
    assert {rule: found for rule, found in behind.load.audit(evidence).items() if found} == {}
    await behind.load.installed.end()
    assert behind.load.installed.journal.complaints == []
    assert read_logs(behind.load.installed.folder)[1] == []
