"""What is added exists if and only if its transaction committed."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from ostinato.errors import InvalidArgument
from ostinato.pb.internal.v1.engine_tasks_pb2 import HandleNotificationTask, LaunchInvocationTask, TriageJobTask
from ostinato.storage.database import Database, DatabaseSettings, open_database
from ostinato.storage.transaction import adopt
from ostinato.taskqueue import Dispatcher, TaskClass, TaskKind, missing_tasks, open_dispatcher
from tests.integration.taskqueue.conftest import LETTER, PARCEL, STAMP, letter


async def count(db: Database, table: str = "tq_ready") -> int:
    return await db.fetchval(f"select count(*) from {table}")


async def test_a_committed_transaction_leaves_its_tasks_by_one_insert(
    database: Database, dispatcher: Dispatcher
) -> None:
    async with database.transaction() as tx:
        ids = [await dispatcher.add(LETTER, letter(n), tx=tx) for n in range(3)]
        assert await tx.fetchval("select count(*) from tq_ready") == 0  # buffered until the commit
    rows = await database.fetch("select id, ready_at from tq_ready")
    assert {row["id"] for row in rows} == set(ids)


async def test_a_rolled_back_transaction_leaves_nothing(database: Database, dispatcher: Dispatcher) -> None:
    with pytest.raises(RuntimeError, match="on purpose"):
        async with database.transaction() as tx:
            await dispatcher.add(LETTER, letter(1), tx=tx)
            raise RuntimeError("on purpose")
    assert await count(database) == 0


async def test_transactions_that_hold_every_connection_can_still_add(database_url: str) -> None:
    """Ids were drawn on a second connection: with all of the pool in such transactions, nobody ever went on."""
    async with (
        open_database(DatabaseSettings(database_url, pool_size=2)) as db,
        open_dispatcher(db, classes=[LETTER]) as crowded,
    ):
        inside = asyncio.Barrier(2)

        async def add(number: int) -> None:
            async with db.transaction() as tx:
                await inside.wait()
                await crowded.add(LETTER, letter(number), tx=tx)

        async with asyncio.timeout(5):
            await asyncio.gather(add(1), add(2))
        assert await db.fetchval("select count(distinct id) from tq_ready") == 2


async def test_add_many_keeps_the_order_of_payloads_in_its_ids(database: Database, dispatcher: Dispatcher) -> None:
    ids = await dispatcher.add_many(LETTER, [letter(n) for n in range(2500)])
    assert len(set(ids)) == 2500
    payload = await database.fetchval("select payload from tq_ready where id = $1", ids[1234])
    assert TriageJobTask.FromString(payload).job_id == 1234
    assert await dispatcher.add_many(LETTER, []) == []


async def test_delay_counts_from_the_insert_and_an_eta_in_the_past_means_now(
    database: Database, dispatcher: Dispatcher
) -> None:
    await dispatcher.add(LETTER, letter(1), delay=timedelta(hours=1))
    await dispatcher.add(LETTER, letter(2), eta=datetime(2001, 1, 1, tzinfo=UTC))
    ahead = await database.fetch(
        "select due_at - ostinato_now() between '-1 second' and '0' as now,"
        " due_at - ostinato_now() between '59 minutes' and '60 minutes' as hour from tq_later order by due_at"
    )
    assert [(row["now"], row["hour"]) for row in ahead] == [(True, False), (False, True)]


async def test_no_delay_at_all_goes_to_the_ready_table(database: Database, dispatcher: Dispatcher) -> None:
    await dispatcher.add(LETTER, letter(1), delay=timedelta(0))
    assert (await count(database), await count(database, "tq_later")) == (1, 0)


@pytest.mark.parametrize(
    ("task_class", "payload", "options", "field"),
    [
        (PARCEL, LaunchInvocationTask(), {}, "tx"),
        (LETTER, LaunchInvocationTask(), {}, "payload"),
        (LETTER, letter(1), {"delay": timedelta(seconds=-1)}, "delay"),
        (LETTER, letter(1), {"delay": timedelta(1), "eta": datetime(2030, 1, 1, tzinfo=UTC)}, "delay"),
        (LETTER, letter(1), {"eta": datetime(2030, 1, 1)}, "eta"),
        (STAMP, HandleNotificationTask(notification={"log_lines": ["x" * (1 << 20)]}), {}, "payload"),
        (TaskClass("letter", TriageJobTask, TaskKind.FOLLOWS_CONTEXT, "mail"), letter(1), {}, "task_class"),
    ],
)
async def test_what_could_not_be_delivered_is_refused_at_once(
    database: Database, dispatcher: Dispatcher, task_class: Any, payload: Any, options: Any, field: str
) -> None:
    with pytest.raises(InvalidArgument) as refused:
        await dispatcher.add(task_class, payload, **options)
    assert field in {violation.path for violation in refused.value.violations}
    assert (await count(database), await count(database, "tq_later")) == (0, 0)


async def test_a_class_that_must_not_be_transactional_is_refused_in_a_transaction(
    database: Database, dispatcher: Dispatcher
) -> None:
    async with database.transaction() as tx:
        with pytest.raises(InvalidArgument, match="must not be added in a transaction"):
            await dispatcher.add(STAMP, HandleNotificationTask(), tx=tx)


async def test_a_users_own_connection_shares_the_fate_of_the_task(
    database_url: str, database: Database, dispatcher: Dispatcher
) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        async with dispatcher.transaction(connection) as tx:
            await connection.execute("create table orders (id int)")
            await dispatcher.add(LETTER, letter(1), tx=tx)
        assert await count(database) == 1
        with pytest.raises(RuntimeError):
            async with dispatcher.transaction(connection) as tx:
                await dispatcher.add(LETTER, letter(2), tx=tx)
                raise RuntimeError
        async with connection.transaction():
            await dispatcher.add(LETTER, letter(3), tx=adopt(connection))
            assert await connection.fetchval("select count(*) from tq_ready") == 2  # written at once
        assert await count(database) == 2
    finally:
        await connection.close()


async def test_two_classes_of_one_name_or_payload_are_refused(database: Database) -> None:
    twin = TaskClass("twin", TriageJobTask, TaskKind.FOLLOWS_CONTEXT, "mail")
    with pytest.raises(InvalidArgument, match="payload"):
        async with open_dispatcher(database, classes=[LETTER, twin]):
            pass


async def test_queues_and_classes_keep_their_ids(database: Database, dispatcher: Dispatcher) -> None:
    async with open_dispatcher(database, classes=[STAMP, LETTER, PARCEL]) as other:
        assert other.queue_ids == dispatcher.queue_ids
        assert other.class_ids == dispatcher.class_ids


async def test_missing_tasks_are_those_in_no_table(database: Database, dispatcher: Dispatcher) -> None:
    ready = await dispatcher.add(LETTER, letter(1))
    later = await dispatcher.add(LETTER, letter(2), delay=timedelta(hours=1))
    assert await missing_tasks(database, [ready, later, 1 << 60]) == {1 << 60}
