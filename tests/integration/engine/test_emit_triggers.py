"""Giving jobs reasons to run: once per id, one kick per job that got something, nothing if rolled back."""

from __future__ import annotations

import asyncio

import pytest

from ostinato.jobflow.emit_triggers import Emission, Emitted, emit_triggers
from ostinato.pb.scheduler.v1.triggers_pb2 import Trigger
from ostinato.storage.database import Database
from ostinato.storage.transaction import Tx
from ostinato.taskqueue import Dispatcher
from tests.integration.engine.stage import PROJECT_ID, Stage, trigger


async def kicked(stage: Stage) -> list[int]:
    return sorted(task.payload.job_id for task in await stage.claim())


async def test_new_triggers_are_pending_and_kick_their_jobs_once_each(
    database: Database, dispatcher: Dispatcher, stage: Stage
) -> None:
    async with database.transaction() as tx:
        emissions = [Emission(job_id, PROJECT_ID, trigger(f"t{n}", age=n)) for job_id in (2, 1) for n in range(3)]
        emitted = await emit_triggers(tx, dispatcher, emissions)
    assert emitted == {2: Emitted(("t0", "t1", "t2"), ()), 1: Emitted(("t0", "t1", "t2"), ())}
    assert await stage.pending(1) == ["t2", "t1", "t0"]
    assert await kicked(stage) == [1, 2]


async def test_an_id_that_is_pending_is_a_duplicate_and_kicks_nobody(stage: Stage) -> None:
    await stage.emit_ids(1, "a")
    assert await kicked(stage) == [1]
    assert await stage.emit_ids(1, "a") == Emitted((), ("a",))
    assert await kicked(stage) == []
    assert await stage.pending(1) == ["a"]


async def test_only_jobs_that_got_something_are_kicked(
    database: Database, dispatcher: Dispatcher, stage: Stage
) -> None:
    await stage.emit_ids(1, "a")
    await kicked(stage)
    async with database.transaction() as tx:
        emissions = [Emission(job_id, PROJECT_ID, trigger("a")) for job_id in (1, 2)]
        emitted = await emit_triggers(tx, dispatcher, emissions)
    assert emitted == {1: Emitted((), ("a",)), 2: Emitted(("a",), ())}
    assert await kicked(stage) == [2]


async def test_the_same_id_twice_in_one_call_is_accepted_once_and_the_older_one_stays(stage: Stage) -> None:
    emitted = await stage.emit(1, trigger("a", age=1, by="user:new"), trigger("a", age=9, by="user:old"))
    assert emitted == Emitted(("a",), ("a",))
    body = await stage.db.fetchval("select body from trigger where job_id = 1")
    assert Trigger.FromString(body).emitted_by == "user:old"


async def test_a_second_kick_is_added_although_one_is_waiting(stage: Stage) -> None:
    await stage.emit_ids(1, "a")
    await stage.emit_ids(1, "b")
    assert await kicked(stage) == [1, 1]


async def test_nothing_stays_of_a_transaction_that_rolled_back(
    database: Database, dispatcher: Dispatcher, stage: Stage
) -> None:
    async def fail(tx: Tx) -> None:
        await emit_triggers(tx, dispatcher, [Emission(1, PROJECT_ID, trigger("a"))])
        raise RuntimeError("the business failed")

    with pytest.raises(RuntimeError):
        await database.transact(fail)
    assert await stage.pending(1) == []
    assert await kicked(stage) == []


async def test_a_trigger_without_a_time_gets_the_transactions_and_the_callers_message_stays_as_it_was(
    database: Database, dispatcher: Dispatcher
) -> None:
    message = Trigger(id="a")
    async with database.transaction() as tx:
        await emit_triggers(tx, dispatcher, [Emission(1, PROJECT_ID, message)])
        now = await tx.now()
    row = await database.fetchrow("select created_at, body from trigger where job_id = 1")
    assert row is not None
    assert row["created_at"] == now
    assert Trigger.FromString(row["body"]).HasField("create_time")
    assert not message.HasField("create_time")


async def test_two_calls_with_the_same_keys_in_other_orders_do_not_deadlock(
    database: Database, dispatcher: Dispatcher, stage: Stage
) -> None:
    names = [f"t{n}" for n in range(50)]

    async def emit(order: list[str]) -> int:
        async with database.transaction() as tx:
            emissions = [Emission(job_id, PROJECT_ID, trigger(name)) for name in order for job_id in (1, 2, 3)]
            emitted = await emit_triggers(tx, dispatcher, emissions)
        return sum(len(told.accepted) for told in emitted.values())

    accepted = await asyncio.gather(*(emit(names if n % 2 else names[::-1]) for n in range(8)))
    assert sum(accepted) == 150
    assert len(await stage.pending(2)) == 50


async def test_nothing_to_emit_is_nothing_done(database: Database, dispatcher: Dispatcher) -> None:
    async with database.transaction() as tx:
        assert await emit_triggers(tx, dispatcher, []) == {}
