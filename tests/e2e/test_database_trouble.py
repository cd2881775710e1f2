"""Whatever happens to the database: ten seconds after its end all goes on by itself, and nothing was lost or doubled.

One installation under load for all tests, and every service reaches its database through one proxy.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio

from chaos.evidence import collect
from chaos.fault_plan import DatabaseFault, PlannedFault
from chaos.installation import open_services
from chaos.load import Load, open_load
from chaos.postgres import Postgres, open_postgres
from chaos.service_logs import read_logs
from chaos.target import open_target
from ostinato.testing.tcp_proxy import TcpProxy, open_tcp_proxy
from tests.e2e.ways import CLOUD_EVERYWHERE, RATE, open_tasks_way, open_way

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(90), pytest.mark.asyncio(loop_scope="module")]

RECOVERY_SECONDS = 10
LOCKED = [("job, tq_ready", 4), ("tq_worker", 4), ("tq_worker, tq_ready", 8)]
if CLOUD_EVERYWHERE:
    LOCKED = [("job, tq_reminder", 4), ("tq_sweep_turn, tq_sweep_lease", 4), ("tq_worker, tq_reminder", 8)]


@dataclass
class Trouble:
    """The load, the server, and the proxy before it."""

    load: Load
    postgres: Postgres
    proxy: TcpProxy

    async def suffer(self, kind: DatabaseFault) -> None:
        await self.postgres.suffer(PlannedFault(after=0, kind=kind, choice=0.5, lasts=0.2))

    async def works_again(self) -> float:
        async with asyncio.timeout(60):
            return await self.load.works_again("tick-noop", "tick-calling")

    async def backlog(self) -> int:
        """Tasks that wait for a worker. A second's triggers are at least as many."""
        connection = await asyncpg.connect(self.postgres.owner_url)
        waiting: int = await connection.fetchval("select count(*) from tq_ready where claimed_by = 0")
        await connection.close()
        return waiting


@asynccontextmanager
async def snapshot(url: str) -> AsyncIterator[None]:
    """Nothing that is deleted meanwhile can be cleared away."""
    connection = await asyncpg.connect(url)
    async with connection.transaction(isolation="repeatable_read"):
        await connection.execute("select from job")
        yield
    await connection.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def trouble(home: Path) -> AsyncIterator[Trouble]:
    async with AsyncExitStack() as stack:
        target = await stack.enter_async_context(open_target(seed=1))
        postgres = await stack.enter_async_context(open_postgres(home / "postgres", home / "postgres.log"))
        way = await stack.enter_async_context(open_way(postgres.url, postgres.server.superuser_url(), home))
        url = way["OSTINATO_DATABASE_URL"]
        proxy = await stack.enter_async_context(open_tcp_proxy(url))
        through = {**way, "OSTINATO_DATABASE_URL": proxy.url(url)}
        cloud = await stack.enter_async_context(open_tasks_way(home))
        installed = await stack.enter_async_context(open_services(postgres, target, home, through, cloud=cloud))
        await installed.begin()
        load = await stack.enter_async_context(open_load(installed, RATE, seed=1))
        await load.works_again()
        yield Trouble(load, postgres, proxy)


@pytest.mark.parametrize("kind", [DatabaseFault.KILL, DatabaseFault.KILL_BACKEND, DatabaseFault.CUT_OFF])
async def test_it_goes_on_after(trouble: Trouble, kind: DatabaseFault) -> None:
    await trouble.suffer(kind)
    assert await trouble.works_again() < RECOVERY_SECONDS


async def test_it_goes_on_after_a_restart_every_few_seconds(trouble: Trouble) -> None:
    for _ in range(3):
        await trouble.suffer(DatabaseFault.FAST)
        await asyncio.sleep(1)
    assert await trouble.works_again() < RECOVERY_SECONDS


async def test_it_goes_on_after_all_connections_broke(trouble: Trouble) -> None:
    for _ in range(5):
        trouble.proxy.break_all()
        await asyncio.sleep(0.2)
    assert await trouble.works_again() < RECOVERY_SECONDS


async def test_it_goes_on_after_a_network_that_swallowed_everything(trouble: Trouble) -> None:
    """For longer than a lease lasts."""
    trouble.proxy.black_hole()
    await asyncio.sleep(8)
    trouble.proxy.recover()
    assert await trouble.works_again() < RECOVERY_SECONDS


async def test_it_goes_on_after_the_answers_to_commits_were_lost(trouble: Trouble) -> None:
    """Each commit happened, or not; whoever sent it can't know. What counts is that nobody acts as if he knew."""
    for _ in range(20):
        trouble.proxy.lose_answer_to(b"COMMIT")
        await asyncio.sleep(0.1)
    trouble.proxy.lose_nothing()
    assert await trouble.works_again() < RECOVERY_SECONDS


@pytest.mark.parametrize(("tables", "seconds"), LOCKED)
async def test_it_goes_on_after_a_long_lock_of(trouble: Trouble, tables: str, seconds: float) -> None:
    """The longest outlasts the leases of all engines."""
    while not await _lock(trouble.postgres.owner_url, tables, seconds):
        pass  # a statement that had one table and wanted the other was first
    assert await trouble.works_again() < RECOVERY_SECONDS


async def _lock(url: str, tables: str, seconds: float) -> bool:
    """False: it was the victim of a deadlock, and nothing was locked for long."""
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction():
            await connection.execute(f"lock table {tables} in access exclusive mode")
            await asyncio.sleep(seconds)
    except asyncpg.DeadlockDetectedError:
        return False
    finally:
        await connection.close()
    return True


async def test_it_goes_on_beside_a_transaction_that_keeps_vacuum_from_its_work(trouble: Trouble) -> None:
    """Three snapshots, each older than the end of the one before. What becomes of minutes, `make bench` tells."""
    async with AsyncExitStack() as stack:
        held = [await stack.enter_async_context(AsyncExitStack()) for _ in range(3)]
        await held[0].enter_async_context(snapshot(trouble.postgres.owner_url))
        for older, newer in pairwise(held):
            await newer.enter_async_context(snapshot(trouble.postgres.owner_url))
            assert await trouble.works_again() < RECOVERY_SECONDS
            await older.aclose()
            assert await trouble.works_again() < RECOVERY_SECONDS
            assert await trouble.backlog() < RATE


async def test_afterwards_nothing_was_lost_or_done_twice(trouble: Trouble) -> None:
    assert await trouble.load.settle() == []
    evidence = await collect(trouble.postgres.owner_url)
    assert len(trouble.load.emitter.accepted) > 500
    assert {rule: found for rule, found in trouble.load.audit(evidence).items() if found} == {}


async def test_afterwards_every_process_drains_and_no_log_tells_of_a_bug(trouble: Trouble, home: Path) -> None:
    await trouble.load.installed.end()
    assert trouble.load.installed.journal.complaints == []
    _, bugs = read_logs(home)
    assert bugs == []
