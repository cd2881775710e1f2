"""Ids of applied messages: told apart once they are there, also for runs that are older than their table."""

from __future__ import annotations

import asyncio
from importlib import resources

import pytest

from ostinato.jobstore.message_store import record_messages
from ostinato.scheduling.invocation_id import InvocationId
from ostinato.storage.database import Database

PARTITIONS = """
select replace(c.relname, $1, ''), pg_get_expr(c.relpartbound, c.oid)
  from pg_inherits h join pg_class c on c.oid = h.inhrelid
 where h.inhparent = $1::regclass order by 1
"""


async def some_id(database: Database) -> InvocationId:
    """Of this week."""
    bounds = await database.fetch(PARTITIONS, "invocation_log")
    return InvocationId(int(bounds[1][1].split("'")[1]))


async def record(database: Database, *messages: tuple[InvocationId, str]) -> set[tuple[InvocationId, str]]:
    async with database.transaction() as tx:
        return await record_messages(tx, messages)


async def test_a_message_is_new_once(database: Database) -> None:
    run = await some_id(database)
    assert await record(database) == set()
    assert await record(database, (run, "b"), (run, "a"), (run, "b")) == {(run, "a"), (run, "b")}
    other = InvocationId(run + 1)
    assert await record(database, (run, "a"), (run, "c"), (other, "a")) == {(run, "c"), (other, "a")}


async def test_what_was_rolled_back_is_new_again(database: Database) -> None:
    run = await some_id(database)
    with pytest.raises(asyncio.CancelledError):
        async with database.transaction() as tx:
            await record_messages(tx, [(run, "a")])
            raise asyncio.CancelledError
    assert await record(database, (run, "a")) == {(run, "a")}


async def test_the_weeks_that_were_there_before_the_table_get_their_partitions(database: Database) -> None:
    await database.execute("drop table invocation_message")
    await database.execute("create table invocation_log_20150105 (like invocation_log including all)")
    await database.execute(
        "alter table invocation_log attach partition invocation_log_20150105 for values from (1) to (2)"
    )
    sql = resources.files("ostinato.jobstore") / "migrations" / "0003_messages.sql"
    for statement in sql.read_text().split(";\n\n"):
        await database.execute(statement)
    logs = await database.fetch(PARTITIONS, "invocation_log")
    assert await database.fetch(PARTITIONS, "invocation_message") == logs
    assert len(logs) > 5
