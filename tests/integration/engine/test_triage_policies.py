"""Policies other than the usual one, on a real database: what starts, what waits, what is discarded when."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from ostinato.pb.internal.v1.stored_pb2 import TriggerList
from ostinato.pb.scheduler.v1.triggers_pb2 import Trigger
from ostinato.scheduling.job_definition import Intake, PolicyKind, TriggeringPolicy
from ostinato.storage.database import Database, DatabaseSettings, open_database
from tests.integration.engine.stage import Stage

START = datetime.now(UTC)  # the partitions of the triage log are today's
LOGARITHMIC = PolicyKind.LOGARITHMIC_BATCHING
NEWEST = TriggeringPolicy(PolicyKind.NEWEST_FIRST, pending_timeout=timedelta(seconds=3))


@pytest.fixture
async def database(virtual_database_url: str) -> AsyncIterator[Database]:
    async with open_database(DatabaseSettings(virtual_database_url, application_name="test")) as opened:
        await opened.execute("insert into testing_clock (now) values ($1)", START)
        yield opened


async def batches(stage: Stage, job_id: int) -> list[list[str]]:
    """Of the active runs, in the order of their newest trigger."""
    runs = [TriggerList.FromString(run["incoming"]).triggers for run in await stage.active(job_id)]
    return sorted([message.id for message in triggers] for triggers in runs)


def numbered(count: int) -> list[str]:
    return [f"t{n:03}" for n in range(count)]


async def test_logarithmic_batching_takes_two_of_four(stage: Stage) -> None:
    job_id = await stage.add_job("j", policy=TriggeringPolicy(LOGARITHMIC, 1, 5, log_base=2))
    await stage.emit_ids(job_id, *numbered(4))
    await stage.triage()
    assert await batches(stage, job_id) == [["t000", "t001"]]
    assert await stage.pending(job_id) == ["t002", "t003"]


async def test_logarithmic_batching_counts_also_what_a_triage_does_not_read(stage: Stage) -> None:
    """128 make a batch of 7, the job allows 5; of 123 it is told that they wait."""
    job_id = await stage.add_job("j", policy=TriggeringPolicy(LOGARITHMIC, 1, 5, log_base=2))
    wide = await stage.add_job("wide", policy=TriggeringPolicy(LOGARITHMIC, 2, log_base=2))
    for each in (job_id, wide):
        await stage.emit_ids(each, *numbered(128))
    await stage.triage()
    assert await batches(stage, job_id) == [numbered(5)]
    assert [len(batch) for batch in await batches(stage, wide)] == [7, 6]
    record = (await stage.triage_records(job_id))[-1]
    waiting = record["decisions"][-1]
    assert (record["saw"]["pending"], waiting["reason"], waiting["count"]) == (128, "AT_CONCURRENCY_LIMIT", 123)


async def test_newest_first_starts_the_newest_and_discards_the_others_when_their_time_is_up(stage: Stage) -> None:
    job_id = await stage.add_job("j", policy=NEWEST)
    await stage.emit(job_id, *(event(f"t{n}", order=n) for n in (1, 2, 3, 4)))
    await stage.triage()
    assert await batches(stage, job_id) == [["t4"]]
    assert await stage.claim() == []  # nobody is asked to look before that time
    await at(stage, 2.9)
    assert await due_triages(stage) == 0
    await at(stage, 3)
    assert await due_triages(stage) == 1
    await stage.kick(job_id)
    await stage.triage()
    assert await stage.pending(job_id) == []
    discarded = (await stage.triage_records(job_id))[-1]["decisions"]
    assert discarded == [{"reason": "DISCARDED_EXPIRED", "count": 3, "trigger_ids": ["t1", "t2", "t3"]}]
    assert stage.metrics.dropped_triggers.labels("DISCARDED_EXPIRED")._value.get() == 3
    (run,) = await stage.active(job_id)
    await stage.finish(run["invocation_id"])
    await stage.triage()
    assert await stage.active(job_id) == []


async def test_newest_first_finds_the_newest_of_very_many(stage: Stage) -> None:
    job_id = await stage.add_job("j", policy=TriggeringPolicy(PolicyKind.NEWEST_FIRST, 2))
    await stage.emit(job_id, *(event(name, order=n) for n, name in enumerate(numbered(300))))
    await stage.triage()
    assert await batches(stage, job_id) == [["t298"], ["t299"]]
    assert len(await stage.pending(job_id)) == 298


async def test_a_slot_that_expires_has_that_outcome(stage: Stage) -> None:
    job_id = await stage.add_job("j", policy=NEWEST)
    await stage.emit_slot(job_id, 7, START - timedelta(seconds=5))
    await stage.triage()
    (row,) = await stage.ledger(job_id)
    assert (row["slot"], row["outcome"]) == (START - timedelta(seconds=5), 3)


async def test_starts_keep_the_least_interval_of_their_job(stage: Stage) -> None:
    once = TriggeringPolicy(max_concurrent_invocations=9, max_batch_size=1)
    job_id = await stage.add_job("j", policy=once, intake=Intake(min_interval=timedelta(seconds=10)))
    await stage.emit_ids(job_id, "a")
    await stage.triage()
    await at(stage, 4)
    await stage.emit_ids(job_id, "b")
    await stage.triage()
    assert await batches(stage, job_id) == [["a"]]
    assert (await stage.triage_records(job_id))[-1]["decisions"][0]["reason"] == "MIN_INTERVAL"
    await at(stage, 9.9)
    assert await due_triages(stage) == 0
    await at(stage, 10)
    assert await due_triages(stage) == 1
    await stage.kick(job_id)
    await stage.triage()
    assert await batches(stage, job_id) == [["a"], ["b"]]


async def test_a_job_has_a_cap_of_its_own(stage: Stage) -> None:
    job_id = await stage.add_job("j", policy=TriggeringPolicy(max_batch_size=1), intake=Intake(max_pending=40))
    await stage.emit_ids(job_id, *numbered(100))
    await stage.triage()
    assert await batches(stage, job_id) == [["t060"]]
    assert len(await stage.pending(job_id)) == 39


def event(name: str, *, order: int) -> Trigger:
    message = Trigger(id=name, order_in_batch=order)
    message.create_time.FromDatetime(START)
    return message


async def at(stage: Stage, seconds: float) -> None:
    """So long after the begin."""
    await stage.db.execute("update testing_clock set now = $1", START + timedelta(seconds=seconds))


async def due_triages(stage: Stage) -> int:
    count: int = await stage.db.fetchval("select count(*) from tq_later where due_at <= ostinato_now()")
    return count
