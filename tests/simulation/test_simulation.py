"""The simulation itself: time jumps, locks are waited for, the dead stay dead."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from random import Random

import pytest

from ostinato.config.database import DatabaseSettings
from ostinato.storage.database import Database, open_database
from ostinato.testing.faults import CrashPlan
from ostinato.testing.simulated_database import SimulatedProcess
from ostinato.testing.simulation import Simulation, open_simulation
from ostinato.testing.virtual_time import Stalled
from tests.simulation.world import MONDAY


@asynccontextmanager
async def opened(simulation: Simulation, gate: SimulatedProcess) -> AsyncIterator[Database]:
    async with open_database(DatabaseSettings(simulation.url, pool_size=100), gate=gate) as db:
        yield db


async def time_of(db: Database) -> datetime:
    now: datetime = await db.fetchval("select ostinato_now()")
    return now


def test_a_year_passes_at_once_for_the_process_and_for_the_database(database_url: str) -> None:
    async def story(simulation: Simulation) -> None:
        async with opened(simulation, simulation.new_process("one")) as db:
            assert timedelta(0) <= await time_of(db) - MONDAY < timedelta(seconds=1)
            await simulation.clock.sleep(timedelta(days=365).total_seconds())
            assert timedelta(0) <= await time_of(db) - MONDAY - timedelta(days=365) < timedelta(seconds=1)
            assert simulation.clock.now() - await time_of(db) < timedelta(seconds=1)

    with open_simulation(database_url, seed=1, start=MONDAY) as simulation:
        simulation.run(story(simulation))


def test_the_time_survives_a_rollback_and_stands_still_in_a_transaction(database_url: str) -> None:
    async def story(simulation: Simulation) -> None:
        async with opened(simulation, simulation.new_process("one")) as db:
            with pytest.raises(ZeroDivisionError):
                async with db.transaction() as tx:
                    first = await tx.fetchval("select ostinato_now()")
                    assert await tx.fetchval("select ostinato_now()") == first
                    raise ZeroDivisionError
            assert await time_of(db) > first

    with open_simulation(database_url, seed=1, start=MONDAY) as simulation:
        simulation.run(story(simulation))


@pytest.mark.parametrize("seed", range(5))
def test_a_statement_that_waits_for_a_lock_lets_the_others_pass(database_url: str, seed: int) -> None:
    async def hold(db: Database, simulation: Simulation, seconds: float) -> None:
        async with db.transaction() as tx:
            await tx.execute("update project set revision = revision || 'h' where name = 'p'")
            await simulation.clock.sleep(seconds)

    async def story(simulation: Simulation) -> None:
        async with opened(simulation, simulation.new_process("one")) as db:
            await db.execute("insert into project (name, created_at, updated_at) values ('p', $1, $1)", MONDAY)
            await asyncio.gather(*(hold(db, simulation, seconds) for seconds in (3, 5, 7)))
            assert await db.fetchval("select revision from project") == "hhh"
            assert simulation.clock.monotonic() >= 15

    with open_simulation(database_url, seed=seed, start=MONDAY) as simulation:
        simulation.run(story(simulation))


@pytest.mark.parametrize(("after", "survives"), [(False, 1), (True, 2)])
def test_a_process_dies_directly_before_or_after_its_commit(database_url: str, after: bool, survives: int) -> None:
    @asynccontextmanager
    async def writer(simulation: Simulation, gate: SimulatedProcess) -> AsyncIterator[None]:
        async with opened(simulation, gate) as db:
            for name in ("a", "b", "c"):
                async with db.transaction() as tx:
                    await tx.execute(
                        "insert into project (name, created_at, updated_at) values ($1, $2, $2)", name, MONDAY
                    )
            yield

    async def story(simulation: Simulation) -> None:
        def begin(gate: SimulatedProcess, _: Random) -> object:
            return writer(simulation, gate)

        life = await simulation.begin("writer", begin, faults=CrashPlan(2, after=after))  # type: ignore[arg-type]
        assert life.process.died.is_set()
        await simulation.bury(life)
        assert not life.process.tasks
        async with opened(simulation, simulation.new_process("eyes")) as db:
            assert await db.fetchval("select count(*) from project") == survives

    with open_simulation(database_url, seed=1, start=MONDAY) as simulation:
        simulation.run(story(simulation))


def test_time_passes_while_something_arrives_for_a_process_that_stands_still(database_url: str) -> None:
    """A walk went round for ever over a connection that was made just before its process stood still."""
    ours, theirs = socket.socketpair()
    seen: list[tuple[bytes, float]] = []

    @asynccontextmanager
    async def reader(simulation: Simulation) -> AsyncIterator[None]:
        async def read() -> None:
            seen.append((await asyncio.get_running_loop().sock_recv(ours, 1), simulation.clock.monotonic()))

        reading = asyncio.create_task(read())
        yield
        await reading

    async def story(simulation: Simulation) -> None:
        def begin(_: SimulatedProcess, __: Random) -> object:
            return reader(simulation)

        life = await simulation.begin("reader", begin)  # type: ignore[arg-type]
        stalling = asyncio.create_task(simulation.stall(life, 9))
        await simulation.clock.sleep(1)
        theirs.close()  # there is an end to read, again and again
        await stalling
        await simulation.clock.sleep(1)
        await simulation.bury(life)

    ours.setblocking(False)
    with ours, open_simulation(database_url, seed=1, start=MONDAY) as simulation:
        simulation.run(story(simulation))
    (read,) = seen
    assert read[0] == b""
    assert 9 <= read[1] < 10


def test_a_story_in_which_nothing_can_happen_any_more_is_told(database_url: str) -> None:
    async def story() -> None:
        await asyncio.Event().wait()

    with open_simulation(database_url, seed=1, start=MONDAY) as simulation, pytest.raises(Stalled):
        simulation.run(story())
