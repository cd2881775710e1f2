"""Leases of ranges: never two alive ones over one id, whoever asks at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ostinato.clock import SystemClock
from ostinato.errors import InternalError, Unavailable
from ostinato.storage.database import Database, DatabaseSettings, open_database
from ostinato.taskqueue.sweeping.lessor import DatabaseLessor
from ostinato.taskqueue.sweeping.partition import Partition, parse_partition
from tests.integration.engine.crashes import CrashAt

MINUTE = timedelta(minutes=1)
SECTION = "reminders_3_16"
WHOLE = Partition(0, 100)


def lessor_of(db: Database) -> DatabaseLessor:
    return DatabaseLessor(db, SystemClock())


async def stored(db: Database) -> list[list[str]]:
    return [row["parts"] for row in await db.fetch("select parts from tq_sweep_lease order by lease_id")]


async def expire_all(db: Database) -> None:
    await db.execute("update tq_sweep_lease set expires_at = ostinato_now()")


async def test_the_second_gets_what_the_first_has_left(database: Database) -> None:
    lessor = lessor_of(database)
    async with lessor.lease(SECTION, Partition(10, 20), MINUTE) as first:
        assert list(first) == [Partition(10, 20)]
        async with lessor.lease(SECTION, WHOLE, MINUTE) as second:
            assert list(second) == [Partition(0, 10), Partition(20, 100)]
            assert await stored(database) == [["a_14"], ["0_a", "14_64"]]
    assert await stored(database) == []
    assert (lessor.stats.taken, lessor.stats.empty) == (2, 0)


async def test_sections_do_not_see_each_other(database: Database) -> None:
    lessor = lessor_of(database)
    async with lessor.lease(SECTION, WHOLE, MINUTE), lessor.lease("reminders_4_16", WHOLE, MINUTE) as other:
        assert list(other) == [WHOLE]


async def test_who_gets_nothing_goes_on_without_a_row(database: Database) -> None:
    lessor = lessor_of(database)
    async with lessor.lease(SECTION, WHOLE, MINUTE), lessor.lease(SECTION, Partition(3, 4), MINUTE) as nothing:
        assert list(nothing) == []
        assert await stored(database) == [["0_64"]]
    assert lessor.stats.empty == 1


async def test_who_asks_for_nothing_gets_nothing_and_no_row(database: Database) -> None:
    async with lessor_of(database).lease(SECTION, Partition(5, 5), MINUTE) as nothing:
        assert list(nothing) == []
        assert await stored(database) == []


async def test_a_lease_is_over_at_the_very_time_it_expires(database: Database) -> None:
    lessor = lessor_of(database)
    async with lessor.lease(SECTION, WHOLE, MINUTE):
        await expire_all(database)  # its holder stands still
        async with lessor.lease(SECTION, WHOLE, MINUTE) as parts:
            assert list(parts) == [WHOLE]
            assert await stored(database) == [["0_64"]]


async def test_at_most_fifty_expired_leases_are_cleared_at_a_time(database: Database) -> None:
    await database.execute(
        "insert into tq_sweep_lease (section, parts, expires_at)"
        " select $1, '{0_1}', ostinato_now() from generate_series(1, 120)",
        SECTION,
    )
    for left in (70, 20, 0):
        async with lessor_of(database).lease(SECTION, WHOLE, MINUTE):
            assert len(await stored(database)) == left + 1


async def test_a_lease_lasts_as_long_as_was_asked_for_by_the_databases_clock(database: Database) -> None:
    async with lessor_of(database).lease(SECTION, WHOLE, timedelta(seconds=40)):
        left = await database.fetchval("select expires_at - ostinato_now() from tq_sweep_lease")
    assert timedelta(seconds=38) < left <= timedelta(seconds=40)


async def test_a_block_that_outlasts_its_lease_is_cut_short(database: Database) -> None:
    lessor = lessor_of(database)
    with pytest.raises(TimeoutError):
        async with lessor.lease(SECTION, WHOLE, timedelta(milliseconds=50)):
            await asyncio.Event().wait()
    assert lessor.stats.expired == 1
    assert await stored(database) == []


@pytest.mark.leaves_damage("a lease that no release would write")
async def test_a_lease_that_cannot_be_read_is_told_and_nothing_begins(database: Database) -> None:
    await database.execute(
        "insert into tq_sweep_lease (section, parts, expires_at) values ($1, '{nonsense}', 'infinity')", SECTION
    )
    lessor = lessor_of(database)
    with pytest.raises(InternalError, match=SECTION):
        async with lessor.lease(SECTION, WHOLE, MINUTE):
            pytest.fail("began without a lease")
    assert lessor.stats.failed == 1


async def test_a_crash_at_any_step_leaves_nothing_that_outlasts_its_lease(database_url: str) -> None:
    """Nor does it raise anything after the block has begun: what is not given back expires."""
    gate = CrashAt()
    async with open_database(DatabaseSettings(database_url), gate=gate) as database:
        lessor, steps = lessor_of(database), 0
        while True:
            steps += 1
            gate.left, gate.step, begun = steps, "", False
            try:
                async with lessor.lease(SECTION, WHOLE, MINUTE) as parts:
                    begun = True
                    assert list(parts) == [WHOLE]
            except Unavailable:
                assert not begun
            gate.left = -1
            await expire_all(database)
            if not gate.step:
                break
    assert steps > 6


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    wanted=st.lists(
        st.tuples(st.integers(0, 90), st.integers(1, 60)).map(lambda pair: Partition(pair[0], pair[0] + pair[1])),
        min_size=2,
        max_size=12,
    ),
    seed=st.integers(0, 1000),
)
async def test_leases_that_are_alive_at_one_moment_never_overlap(
    database: Database, wanted: Sequence[Partition], seed: int
) -> None:
    """Real sessions ask at the same time; some give back at once, some later, some die and their leases expire."""
    await database.execute("truncate tq_sweep_lease")
    lessor, random, held = lessor_of(database), Random(seed), list[Partition]()

    async def hold(parts: Sequence[Partition], turns: int) -> None:
        held.extend(parts)
        assert_apart(held)
        assert_apart(await alive(database))
        for _ in range(turns):
            await database.fetchval("select 1")
        for part in parts:
            held.remove(part)

    async def take(partition: Partition, turns: int) -> None:
        async with lessor.lease(SECTION, partition, MINUTE) as parts:
            await hold(parts, turns)

    async def take_and_die(partition: Partition, turns: int) -> None:
        lease_id, parts = await lessor._take(SECTION, partition, MINUTE)
        await hold(parts, turns)
        await database.execute("update tq_sweep_lease set expires_at = ostinato_now() where lease_id = $1", lease_id)

    ways = [random.choice([take, take, take_and_die]) for _ in wanted]
    await asyncio.gather(*(way(partition, random.randrange(6)) for way, partition in zip(ways, wanted, strict=True)))
    assert held == []
    assert await alive(database) == []


async def alive(db: Database) -> list[Partition]:
    rows = await db.fetch("select unnest(parts) as part from tq_sweep_lease where expires_at > ostinato_now()")
    return [parse_partition(row["part"]) for row in rows]


def assert_apart(parts: Sequence[Partition]) -> None:
    assert all(before.high <= after.low for before, after in pairwise(sorted(parts)))
