"""Reminders in a real database: with their transaction, by the database's clock, in the order of their bytes."""

from __future__ import annotations

import asyncio
import json
import re
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from ostinato.storage.database import Database
from ostinato.taskqueue.reminders.parked_store import list_parked, purge_parked, requeue_parked
from ostinato.taskqueue.reminders.refusal_policy import RefusalPolicy
from ostinato.taskqueue.reminders.reminder import NewReminder, new_reminder_id
from ostinato.taskqueue.reminders.reminder_store import (
    RefusedReminder,
    delete_reminders,
    insert_reminders,
    load_backlog,
    load_payloads,
    note_refusals,
    scan_reminders,
)
from tests.integration.taskqueue.reminders.remote_queue import STALE, remaining, reminder, write

LOW, POLICY = UUID(int=0), RefusalPolicy()


def refusal(reminder_id: UUID, error: str = "PERMISSION_DENIED") -> RefusedReminder:
    return RefusedReminder(reminder_id, "letter", "mail", error)


async def first_refused_an_hour_ago(db: Database) -> None:
    await db.execute("update tq_reminder set first_refused_at = ostinato_now() - interval '1 hour'")


async def test_reminders_exist_if_and_only_if_their_transaction_commits(database: Database) -> None:
    kept, lost = reminder(), reminder()
    await write(database, [kept])
    with pytest.raises(ZeroDivisionError):
        async with database.transaction() as tx:
            await insert_reminders(tx, [lost])
            raise ZeroDivisionError
    assert await load_payloads(database, [kept.id, lost.id]) == {kept.id: kept.payload}


@pytest.mark.parametrize(
    ("time_left", "expected"),
    [(None, 60), (timedelta(hours=1), 60), (timedelta(seconds=20), 20), (timedelta(seconds=-5), -5)],
)
async def test_a_reminder_is_fresh_for_a_minute_or_as_long_as_its_caller_has_time(
    database: Database, time_left: timedelta | None, expected: float
) -> None:
    await write(database, [reminder(time_left=time_left)])
    row = await database.fetchrow(
        "select fresh_until - ostinato_now() as left, fresh_until = date_trunc('milliseconds', fresh_until) as whole"
        "  from tq_reminder"
    )
    assert row is not None
    assert expected - 2 < row["left"].total_seconds() <= expected
    assert row["whole"]


async def test_a_scan_reads_a_half_open_range_in_the_order_of_bytes(database: Database) -> None:
    ids = [UUID(text * 32) for text in "059af"]
    await write(database, [reminder(reminder_id=chosen) for chosen in reversed(ids)])
    assert [found.id for found in await scan_reminders(database, LOW, None, 10)] == ids
    assert [found.id for found in await scan_reminders(database, ids[1], ids[3], 10)] == ids[1:3]
    assert [found.id for found in await scan_reminders(database, ids[1], None, 2)] == ids[1:3]
    assert await scan_reminders(database, UUID("1" * 32), UUID("4" * 32), 10) == []


async def test_a_scan_tells_fresh_from_stale_by_the_databases_clock(database: Database) -> None:
    fresh, stale = reminder(time_left=None), reminder(time_left=STALE)
    await write(database, [fresh, stale])
    found = {one.id: one for one in await scan_reminders(database, LOW, None, 10)}
    assert not found[fresh.id].is_due
    assert found[fresh.id].stale_for < timedelta(seconds=-50)
    assert found[stale.id].is_due
    assert found[stale.id].stale_for >= timedelta()


@pytest.mark.leaves_damage("a next try without a refusal is written by hand")
async def test_a_reminder_is_stale_from_the_very_end_of_its_time(database: Database) -> None:
    """And due again from the very time that was set for its next try."""
    made = reminder()
    await write(database, [made])
    async with database.transaction() as tx:
        at = "(select fresh_until from tq_reminder)"
        await tx.execute(f"create or replace function ostinato_now() returns timestamptz language sql as 'select {at}'")
        rows = await tx.fetch("select stale_for, is_due from tq_scan_reminders_v1($1, null, 1)", LOW)
        assert (rows[0]["stale_for"], rows[0]["is_due"]) == (timedelta(), True)
        await tx.execute("update tq_reminder set next_try_at = fresh_until")
        assert await tx.fetchval("select is_due from tq_scan_reminders_v1($1, null, 1)", LOW)
        await tx.execute("update tq_reminder set next_try_at = fresh_until + interval '1 microsecond'")
        assert not await tx.fetchval("select is_due from tq_scan_reminders_v1($1, null, 1)", LOW)


@pytest.mark.parametrize("rows", [0, 3000])
async def test_a_scan_reads_the_index_alone_whatever_the_statistics_say(database: Database, rows: int) -> None:
    """Statistics of a small table for a larger one, and those of a full one for an empty one."""
    await write(database, [reminder(size=2000) for _ in range(200)])
    await database.execute("vacuum analyze tq_reminder")
    if rows:
        await write(database, [reminder() for _ in range(rows)])
    else:
        await database.execute("delete from tq_reminder")
    for plan in await _plans_of_scans(database):
        assert plan["Node Type"] == "Limit"
        (scan,) = plan["Plans"]
        assert (scan["Node Type"], scan["Index Name"]) == ("Index Only Scan", "tq_reminder_pkey")
        assert "id >=" in scan["Index Cond"]


_ARGUMENTS = {"low": "$1", "high": "$2", "most": "$3", "now": "$4"}


async def _plans_of_scans(database: Database) -> list[dict[str, Any]]:
    """Of both statements of the function, with its own settings."""
    function = await database.fetchrow("select prosrc, proconfig from pg_proc where proname = 'tq_scan_reminders_v1'")
    assert function is not None
    plans = []
    async with database.transaction() as tx:
        for setting in function["proconfig"]:
            await tx.execute(f"set local {setting}")
        for statement in re.findall(r"return query\s(.*?);", function["prosrc"], re.DOTALL):
            sql = re.sub(r"\b(low|high|most|now)\b", lambda word: _ARGUMENTS[word[0]], statement)
            name = f"scan_{len(plans)}"
            await tx.execute(f"prepare {name} (uuid, uuid, int, timestamptz) as {sql}")
            run = f"execute {name} ('{LOW}', '{'f' * 32}', 2048, now())"
            plans.append(json.loads(await tx.fetchval(f"explain (format json) {run}"))[0]["Plan"])
            await tx.execute(f"deallocate {name}")
    assert len(plans) == 2
    return plans


async def test_deletions_tell_what_was_there(database: Database) -> None:
    made = [reminder() for _ in range(3)]
    await write(database, made)
    gone = [made[0].id, made[2].id, new_reminder_id()]
    assert await delete_reminders(database, gone) == {made[0].id, made[2].id}
    assert await delete_reminders(database, gone) == set()
    assert await remaining(database) == 1


async def test_overlapping_deletions_in_any_order_do_not_deadlock(database: Database) -> None:
    ids = [reminder().id for _ in range(300)]
    await write(database, [reminder(reminder_id=chosen) for chosen in ids])
    deleted = await asyncio.gather(*(delete_reminders(database, ids[:: 1 if n % 2 else -1]) for n in range(8)))
    assert sum(map(len, deleted)) == 300


async def test_a_refusal_is_tried_again_less_and_less_often(database: Database) -> None:
    made = reminder()
    await write(database, [made])
    waits = []
    for _ in range(9):
        assert await note_refusals(database, [refusal(made.id)], POLICY) == set()
        waits.append(await database.fetchval("select next_try_at - ostinato_now() from tq_reminder"))
    assert [round(wait.total_seconds()) for wait in waits] == [15, 30, 60, 120, 240, 480, 600, 600, 600]
    row = await database.fetchrow("select attempts, last_error from tq_reminder")
    assert row is not None
    assert tuple(row) == (9, "PERMISSION_DENIED")
    (found,) = await scan_reminders(database, LOW, None, 1)
    assert not found.is_due


async def test_a_refusal_an_hour_after_the_first_one_parks(database: Database) -> None:
    parks, stays = reminder(), reminder()
    await write(database, [parks])
    await note_refusals(database, [refusal(parks.id)], POLICY)
    await database.execute("update tq_reminder set first_refused_at = ostinato_now() - interval '59 min 50 s'")
    assert await note_refusals(database, [refusal(parks.id)], POLICY) == set()
    await first_refused_an_hour_ago(database)
    await write(database, [stays])
    assert await note_refusals(database, [refusal(parks.id, "last"), refusal(stays.id)], POLICY) == {parks.id}
    (parked,) = await list_parked(database)
    assert (parked.id, parked.task_class, parked.queue) == (parks.id, "letter", "mail")
    assert (parked.attempts, parked.error, parked.payload) == (3, "last", parks.payload)
    assert [found.id for found in await scan_reminders(database, LOW, None, 10)] == [stays.id]


async def test_refusals_of_what_is_gone_change_nothing(database: Database) -> None:
    assert await note_refusals(database, [refusal(new_reminder_id())], POLICY) == set()
    assert await note_refusals(database, [], POLICY) == set()
    assert await list_parked(database) == []


async def test_texts_that_the_database_does_not_take_are_stored_all_the_same(database: Database) -> None:
    made = reminder()
    await write(database, [made])
    await note_refusals(database, [refusal(made.id, "zero \x00, half \ud800, " + "long" * 1000)], POLICY)
    error = await database.fetchval("select last_error from tq_reminder")
    assert error.startswith("zero \N{REPLACEMENT CHARACTER}, half ?, long")
    assert len(error) == 2000


async def parked_reminders(database: Database, count: int) -> list[NewReminder]:
    made = [reminder() for _ in range(count)]
    await write(database, made)
    for one in made:
        await note_refusals(database, [refusal(one.id)], POLICY)
        await database.execute("update tq_reminder set first_refused_at = '-infinity'")
        await note_refusals(database, [refusal(one.id)], POLICY)
    return made


async def test_parked_ones_are_listed_newest_first_by_pages_and_queues(database: Database) -> None:
    made = await parked_reminders(database, 3)
    first = await list_parked(database, limit=2)
    assert [parked.id for parked in first] == [made[2].id, made[1].id]
    rest = await list_parked(database, before=(first[-1].parked_at, first[-1].id))
    assert [parked.id for parked in rest] == [made[0].id]
    assert len(await list_parked(database, queue="mail")) == 3
    assert await list_parked(database, queue="other") == []


async def test_a_requeued_one_is_due_at_once_with_fresh_patience(database: Database) -> None:
    first, second = await parked_reminders(database, 2)
    assert await requeue_parked(database, [first.id, new_reminder_id()]) == 1
    assert await requeue_parked(database, [first.id]) == 0
    row = await database.fetchrow("select id, attempts, first_refused_at, payload from tq_reminder")
    assert row is not None
    assert tuple(row) == (first.id, 0, None, first.payload)
    assert (await scan_reminders(database, LOW, None, 1))[0].is_due
    assert [parked.id for parked in await list_parked(database)] == [second.id]


async def test_purged_ones_are_gone(database: Database) -> None:
    first, second = await parked_reminders(database, 2)
    assert await purge_parked(database, [first.id, new_reminder_id()]) == 1
    assert [parked.id for parked in await list_parked(database)] == [second.id]


async def test_the_backlog_is_counted(database: Database) -> None:
    assert (await load_backlog(database)).oldest is None
    await parked_reminders(database, 1)
    await write(database, [reminder(time_left=None), reminder(time_left=timedelta(seconds=-90))])
    backlog = await load_backlog(database)
    assert (backlog.waiting, backlog.parked) == (2, 1)
    assert backlog.oldest is not None
    assert backlog.oldest >= timedelta(seconds=90)
