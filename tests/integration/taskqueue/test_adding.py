"""What is added exists if and only if its transaction committed."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from ostinato.errors import CommitOutcomeUnknown, InvalidArgument
from ostinato.pb.internal.v1.engine_tasks_pb2 import HandleNotificationTask, LaunchInvocationTask, TriageJobTask
from ostinato.storage.database import Database, DatabaseSettings, open_database
from ostinato.storage.transaction import adopt
from ostinato.taskqueue import Dispatcher, TaskClass, TaskKind, missing_tasks, open_dispatcher
from ostinato.testing.tcp_proxy import open_tcp_proxy
from tests.integration.taskqueue.conftest import CLASSES, LETTER, PARCEL, STAMP, letter


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
        (LETTER, letter(1), {"delay": timedelta.max}, "delay"),
        (LETTER, letter(1), {"eta": datetime(2030, 1, 1)}, "eta"),
        (LETTER, letter(1), {"eta": datetime.max.replace(tzinfo=UTC)}, "eta"),
        (LETTER, letter(1), {"fair_key": 1 << 31}, "fair_key"),
        (LETTER, letter(1), {"fair_key": -(1 << 31)}, "fair_key"),
        (LETTER, letter(1), {"priority": 4}, "priority"),
        (LETTER, letter(1), {"priority": -1}, "priority"),
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


async def test_missing_tasks_are_those_in_no_table(dispatcher: Dispatcher) -> None:
    ready = await dispatcher.add(LETTER, letter(1))
    later = await dispatcher.add(LETTER, letter(2), delay=timedelta(hours=1))
    assert await missing_tasks(dispatcher, LETTER, [ready, later, 1 << 60]) == {1 << 60}


class UndoneError(Exception):
    pass


async def test_a_task_added_in_a_savepoint_shares_its_fate(database: Database, dispatcher: Dispatcher) -> None:
    woken: list[set[int]] = []
    dispatcher.wake_ups.listen(lambda strands: not woken.append(set(strands)), lambda _: None)
    async with database.transaction() as tx:
        kept = await dispatcher.add(LETTER, letter(1), tx=tx)
        with pytest.raises(UndoneError):
            async with tx.savepoint():
                await dispatcher.add(LETTER, letter(2), tx=tx)
                await dispatcher.add(PARCEL, LaunchInvocationTask(), tx=tx)
                raise UndoneError
        async with tx.savepoint():
            kept_too = await dispatcher.add(LETTER, letter(3), tx=tx)
    assert {row["id"] for row in await database.fetch("select id from tq_ready")} == {kept, kept_too}
    assert len(woken) == 1


async def test_a_savepoint_of_the_users_own_takes_its_tasks_along(
    database_url: str, database: Database, dispatcher: Dispatcher
) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        async with dispatcher.transaction(connection) as tx:
            kept = await dispatcher.add(LETTER, letter(1), tx=tx)
            with pytest.raises(UndoneError):
                async with connection.transaction():  # a savepoint that only the driver knows of
                    await dispatcher.add(LETTER, letter(2), tx=tx)
                    raise UndoneError
    finally:
        await connection.close()
    assert [row["id"] for row in await database.fetch("select id from tq_ready")] == [kept]


async def test_an_add_on_a_users_own_connection_wakes_the_worker_with_the_commit(
    database_url: str, dispatcher: Dispatcher
) -> None:
    woken: list[set[int]] = []
    dispatcher.wake_ups.listen(lambda strands: not woken.append(set(strands)), lambda _: None)
    connection = await asyncpg.connect(database_url)
    try:
        async with dispatcher.transaction(connection) as tx:
            await dispatcher.add(LETTER, letter(1), tx=tx)
            assert woken == []
        assert len(woken) == 1
    finally:
        await connection.close()


async def test_tasks_of_a_commit_without_an_answer_are_not_announced_and_the_caller_is_told(
    database: Database,
) -> None:
    """They are there or not, as the rows of that transaction: who looks will find out."""
    woken: list[set[int]] = []
    async with (
        open_tcp_proxy(database.settings.url) as proxy,
        open_database(DatabaseSettings(proxy.url(database.settings.url))) as far,
        open_dispatcher(far, classes=CLASSES, notify=False) as dispatcher,
    ):
        dispatcher.wake_ups.listen(lambda strands: not woken.append(set(strands)), lambda _: None)
        with pytest.raises(CommitOutcomeUnknown):
            async with far.transaction() as tx:
                await tx.execute("create table orders (id int)")
                await dispatcher.add(LETTER, letter(1), tx=tx)
                proxy.lose_answer_to(b"COMMIT")
        assert woken == []
    assert await count(database) == await count(database, "pg_class where relname = 'orders'") == 1


async def test_an_add_with_a_key_whose_answer_was_lost_may_be_repeated(database: Database) -> None:
    async with (
        open_tcp_proxy(database.settings.url) as proxy,
        open_database(DatabaseSettings(proxy.url(database.settings.url))) as far,
        open_dispatcher(far, classes=CLASSES, notify=False) as dispatcher,
    ):
        payload = letter(123_456_789)
        proxy.lose_answer_to(payload.SerializeToString())
        with pytest.raises(CommitOutcomeUnknown):
            await dispatcher.add(LETTER, payload, dedup_key="a")
        assert await dispatcher.add(LETTER, payload, dedup_key="a") is None
    assert await count(database) == 1


async def test_every_member_of_a_group_without_an_answer_is_told_that_its_outcome_is_unknown(
    database: Database,
) -> None:
    woken: list[set[int]] = []
    async with (
        open_tcp_proxy(database.settings.url) as proxy,
        open_database(DatabaseSettings(proxy.url(database.settings.url))) as far,
        open_dispatcher(far, classes=CLASSES, notify=False) as dispatcher,
    ):
        await dispatcher.add(LETTER, letter(0))  # ids are drawn
        dispatcher.wake_ups.listen(lambda strands: not woken.append(set(strands)), lambda _: None)
        last = letter(123_456_789)
        proxy.lose_answer_to(last.SerializeToString())
        results = await asyncio.gather(
            *(dispatcher.add(LETTER, payload) for payload in [*map(letter, range(9)), last]), return_exceptions=True
        )
    unknown = [result for result in results if isinstance(result, CommitOutcomeUnknown)]
    assert len(unknown) > 1  # not only the one whose bytes the network swallowed
    assert len(unknown) + len([result for result in results if isinstance(result, int)]) == 10
    assert await count(database) == 11
