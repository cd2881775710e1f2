"""What the checker of committed states knows of reminders: content while all goes well, and each damage is told."""

from __future__ import annotations

from datetime import timedelta

import asyncpg
import pytest

from ostinato.storage.database import Database
from ostinato.taskqueue.reminders.refusal_policy import RefusalPolicy
from ostinato.taskqueue.reminders.reminder_store import RefusedReminder, note_refusals
from ostinato.taskqueue.sweeping.lease_store import insert_lease
from ostinato.taskqueue.sweeping.partition import Partition
from ostinato.testing.invariants import find_violations
from tests.integration.taskqueue.reminders.remote_queue import reminder, write

pytestmark = pytest.mark.leaves_damage("that is what these tests are about")

FIRST = "where id = (select id from tq_reminder where attempts = 0 order by id limit 1)"
REFUSED = "where attempts > 0"
TWICE = "insert into tq_reminder (id, fresh_until, payload) select id, ostinato_now(), payload from tq_parked_reminder"


async def violations_of(url: str) -> list[str]:
    connection = await asyncpg.connect(url)
    try:
        return await find_violations(connection)
    finally:
        await connection.close()


@pytest.fixture
async def scene(database: Database) -> Database:
    """Reminders that are fresh, stale, refused and parked, and two leases of one section."""
    refused, parked = reminder(), reminder()
    await write(database, [reminder(time_left=None), reminder(), refused, parked])
    for policy in (RefusalPolicy(), RefusalPolicy(park_after=timedelta())):
        await note_refusals(database, [RefusedReminder(parked.id, "letter", "mail", "DENIED")], policy)
    refusal = RefusedReminder(refused.id, "letter", "mail", "DENIED")
    for _ in range(9):
        await note_refusals(database, [refusal], RefusalPolicy())
    async with database.transaction() as tx:
        for part in (Partition(0, 10), Partition(10, 20)):
            await insert_lease(tx, "reminders_0_1", [part], timedelta(minutes=1))
    return database


async def test_reminders_at_work_have_no_violations(scene: Database, database_url: str) -> None:
    assert await scene.fetchval("select count(*) from tq_reminder") == 3
    assert await scene.fetchval("select count(*) from tq_parked_reminder") == 1
    assert await violations_of(database_url) == []


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (f"update tq_reminder set fresh_until = ostinato_now() + interval '2 min' {FIRST}", "is fresh until"),
        (f"update tq_reminder set next_try_at = ostinato_now() + interval '1 h' {REFUSED}", "is to be tried at"),
        (f"update tq_reminder set next_try_at = ostinato_now() {FIRST}", "was never refused and waits until"),
        (f"update tq_reminder set last_error = 'DENIED' {FIRST}", "was never refused"),
        (f"update tq_reminder set first_refused_at = null {REFUSED}", "nobody knows when or why"),
        (TWICE, "is parked and waits"),
        ("update tq_parked_reminder set attempts = 0", "is parked and was never refused"),
        ("update tq_sweep_lease set expires_at = 'infinity'", "is leased until infinity"),
        ("update tq_sweep_lease set parts = '{5_15}'", "5_15 and 5_15 of section reminders_0_1 are leased twice"),
        ("delete from tq_sweep_turn", "nobody can take a turn"),
    ],
)  # fmt: skip
async def test_damage_is_told(scene: Database, database_url: str, damage: str, told: str) -> None:
    await scene.execute(damage)
    violations = await violations_of(database_url)
    assert any(told in sentence for sentence in violations), violations


async def test_leases_of_two_sections_and_those_that_are_over_may_overlap(scene: Database, database_url: str) -> None:
    insert = "insert into tq_sweep_lease (section, parts, expires_at) values ($1, '{5_15}', ostinato_now() + $2)"
    await scene.execute(insert, "reminders_1_1", timedelta(seconds=50))
    await scene.execute(insert, "reminders_0_1", timedelta())
    assert await violations_of(database_url) == []
