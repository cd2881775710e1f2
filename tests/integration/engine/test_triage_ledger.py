"""Each slot of an absolute schedule that leaves the pending set gets one row in the ledger, in the same transaction."""

from __future__ import annotations

from datetime import timedelta

from ostinato.scheduling.job_definition import TriggeringPolicy
from ostinato.scheduling.occurrence import OccurrenceOutcome
from ostinato.storage.database import Database
from tests.integration.engine.stage import T0, Stage, trigger

MINUTE = timedelta(minutes=1)


async def test_of_the_slots_in_one_run_the_newest_is_started_and_the_others_batched(stage: Stage) -> None:
    job_id = await stage.add_job("j")
    for number in range(3):
        await stage.emit_slot(job_id, number, T0 + number * MINUTE)
    await stage.triage()
    (run,) = await stage.active(job_id)
    assert run["scheduled_for"] == T0 + 2 * MINUTE
    assert [(row["slot"], row["outcome"], row["invocation_id"]) for row in await stage.ledger(job_id)] == [
        (T0, OccurrenceOutcome.BATCHED, run["invocation_id"]),
        (T0 + MINUTE, OccurrenceOutcome.BATCHED, run["invocation_id"]),
        (T0 + 2 * MINUTE, OccurrenceOutcome.STARTED, run["invocation_id"]),
    ]
    assert (await stage.job(job_id))["last_scheduled_at"] == T0 + 2 * MINUTE


async def test_each_slot_points_at_the_run_it_went_into(stage: Stage) -> None:
    job_id = await stage.add_job("j", policy=TriggeringPolicy(max_concurrent_invocations=2, max_batch_size=1))
    await stage.emit_slot(job_id, 1, T0)
    await stage.emit_slot(job_id, 2, T0 + MINUTE)
    await stage.triage()
    runs = {run["scheduled_for"]: run["invocation_id"] for run in await stage.active(job_id)}
    assert {row["slot"]: row["invocation_id"] for row in await stage.ledger(job_id)} == runs


async def test_slots_purged_by_a_pause_are_accounted_for(database: Database, stage: Stage) -> None:
    job_id = await stage.add_job("j")
    await stage.emit_slot(job_id, 1, T0)
    await database.execute("update job set paused = true where job_id = $1", job_id)
    await stage.triage()
    (row,) = await stage.ledger(job_id)
    assert (row["outcome"], row["invocation_id"]) == (OccurrenceOutcome.PAUSED, None)


async def test_a_slot_that_waits_has_no_row_yet(stage: Stage) -> None:
    job_id = await stage.add_job("j")
    await stage.emit(job_id, trigger("first"))
    await stage.triage()
    await stage.emit_slot(job_id, 1, T0)
    await stage.triage()
    assert await stage.ledger(job_id) == []


async def test_the_first_decision_about_a_slot_stands(database: Database, stage: Stage) -> None:
    job_id = await stage.add_job("j")
    await stage.emit_slot(job_id, 1, T0)
    await stage.triage()
    (first,) = await stage.ledger(job_id)
    await stage.emit_slot(job_id, 2, T0)
    await database.execute("update job set paused = true where job_id = $1", job_id)
    await stage.triage()
    assert await stage.ledger(job_id) == [first]


async def test_triggers_without_a_slot_have_no_row(stage: Stage) -> None:
    job_id = await stage.add_job("j")
    await stage.emit_ids(job_id, "t1")
    await stage.triage()
    assert await stage.ledger(job_id) == []
    assert (await stage.job(job_id))["last_scheduled_at"] is None
