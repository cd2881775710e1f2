"""A ceiling over all processes, of which some are killed while they hold a share of it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from google.protobuf.wrappers_pb2 import Int64Value

from ostinato.storage.database import Database
from ostinato.taskqueue import Dispatcher, QueueSettings, open_dispatcher
from tests.e2e.ceiling_process import HANGS_AT_FIRST, NUMBERED
from tests.e2e.ways import only_embedded

pytestmark = only_embedded("Cloud Tasks keeps its own ceiling, among its own dispatches: nobody claims anything")

CEILING = 4
_TABLE = """
create table run (id bigint primary key generated always as identity, process int, number bigint, began timestamptz,
                  ended timestamptz)
"""
# What a killed process left open was under way at least until it was killed.
_MOST_AT_ONCE = """
select coalesce(max(at_once), 0)
  from (select count(*) as at_once
          from run r join run other on other.began <= r.began and other.ended >= r.began
         group by r.id) counted
"""
_HELD = "select count(*) from tq_ready where claimed_by <> 0"


class Processes:
    def __init__(self, db: Database, environ: Mapping[str, str]) -> None:
        self._db = db
        self._environ = environ
        self._alive: list[asyncio.subprocess.Process] = []

    async def start(self) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.e2e.ceiling_process", env=self._environ
        )
        self._alive.append(process)
        return process

    async def kill(self, process: asyncio.subprocess.Process) -> None:
        at = await self._db.fetchval("select clock_timestamp()")
        process.kill()
        await process.wait()
        self._alive.remove(process)
        await self._db.execute("update run set ended = $2 where process = $1 and ended is null", process.pid, at)

    async def running(self, process: asyncio.subprocess.Process) -> int:
        sql = "select count(*) from run where process = $1 and ended is null"
        return int(await self._db.fetchval(sql, process.pid))

    async def one_that_runs(self) -> asyncio.subprocess.Process | None:
        running = await self._db.fetchval("select process from run where ended is null limit 1")
        return next((process for process in self._alive if process.pid == running), None)

    async def until_it_runs(self, process: asyncio.subprocess.Process, count: int) -> None:
        async with asyncio.timeout(30):
            while await self.running(process) < count:
                assert await self._db.fetchval(_HELD) <= CEILING
                await asyncio.sleep(0.005)

    async def stop(self) -> None:
        for process in [*self._alive]:
            await self.kill(process)


@asynccontextmanager
async def processes(db: Database, environ: Mapping[str, str]) -> AsyncIterator[Processes]:
    await db.execute(_TABLE)
    started = Processes(db, environ)
    try:
        yield started
    finally:
        await started.stop()


@asynccontextmanager
async def numbers_with_a_ceiling(db: Database) -> AsyncIterator[Dispatcher]:
    limits = [QueueSettings("numbers", max_concurrent=CEILING)]
    async with open_dispatcher(db, classes=[NUMBERED], queues=limits) as dispatcher:
        yield dispatcher


async def until_alive(db: Database, workers: int) -> None:
    async with asyncio.timeout(30):
        while await db.fetchval("select count(*) from tq_worker where expires_at > ostinato_now()") != workers:
            await asyncio.sleep(0.01)


async def backlog(db: Database, dispatcher: Dispatcher) -> None:
    """Enough for everybody, also for who comes late."""
    if await db.fetchval("select count(*) from tq_ready") < HANGS_AT_FIRST:
        await dispatcher.add_many(NUMBERED, [Int64Value(value=n) for n in range(HANGS_AT_FIRST)])


async def until_all_have_ended(db: Database) -> None:
    async with asyncio.timeout(40):
        while await db.fetchval("select count(*) from tq_ready") > 0:
            assert await db.fetchval(_HELD) <= CEILING
            await asyncio.sleep(0.01)


async def test_the_share_of_a_killed_process_comes_back_and_not_before_its_lease_ends(
    database: Database, process_environ: Mapping[str, str]
) -> None:
    async with numbers_with_a_ceiling(database) as dispatcher, processes(database, process_environ) as started:
        await dispatcher.add_many(NUMBERED, [Int64Value(value=HANGS_AT_FIRST + n) for n in range(CEILING)])
        first = await started.start()
        await started.until_it_runs(first, CEILING)
        second = await started.start()
        await dispatcher.add_many(NUMBERED, [Int64Value(value=n) for n in range(40)])
        await until_alive(database, 2)
        await started.kill(first)
        await until_all_have_ended(database)
        before_the_end = (
            "select count(*) from run where process = $1 and began < (select max(ended) from run where process = $2)"
        )
        assert await database.fetchval(before_the_end, second.pid, first.pid) == 0
    assert await database.fetchval(_MOST_AT_ONCE) == CEILING
    assert await database.fetchval("select count(distinct number) from run where process = $1", second.pid) == 44


async def test_the_ceiling_holds_while_processes_are_killed(
    database: Database, process_environ: Mapping[str, str]
) -> None:
    """Killed is who holds the room: usually one process holds all of it, for as long as there is work."""
    async with numbers_with_a_ceiling(database) as dispatcher, processes(database, process_environ) as started:
        await started.start()
        for _ in range(3):
            await started.start()
            await until_alive(database, 2)
            async with asyncio.timeout(30):
                while (holder := await started.one_that_runs()) is None:
                    await backlog(database, dispatcher)
            await started.kill(holder)
        await until_all_have_ended(database)
    assert await database.fetchval(_MOST_AT_ONCE) == CEILING
