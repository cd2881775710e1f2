"""Jobs with many pending triggers: the cap is exact, reading is bounded, nobody is held up."""

from __future__ import annotations

from datetime import timedelta

import pytest

from ostinato.pb.internal.v1.stored_pb2 import TriggerList
from ostinato.scheduling.job_definition import TriggeringPolicy
from ostinato.storage.database import Database
from ostinato.taskqueue.outcome import Verdict
from ostinato_engine import triage_loading
from tests.integration.engine.stage import Stage


async def flood(stage: Stage, job_id: int, count: int) -> None:
    """t00000 is the oldest."""
    await stage.db.execute(
        """
        insert into trigger (job_id, trigger_id, created_at, order_in_batch, body)
        select $1, name, '2026-03-01Z'::timestamptz, n, '\\x0a06'::bytea || convert_to(name, 'utf8')
          from (select n, 't' || lpad(n::text, 5, '0') as name from generate_series(0, $2 - 1) n) named
        """,
        job_id,
        count,
    )
    await stage.kick(job_id)


async def test_what_exceeds_the_cap_is_dropped_oldest_first_and_the_rest_starts(stage: Stage) -> None:
    job_id = await stage.add_job("j")
    await flood(stage, job_id, 1010)
    await stage.triage()
    (run,) = await stage.active(job_id)
    batch = [message.id for message in TriggerList.FromString(run["incoming"]).triggers]
    assert (len(batch), batch[0], batch[-1]) == (1000, "t00010", "t01009")
    dropped = (await stage.triage_records(job_id))[-1]["decisions"][0]
    assert (dropped["reason"], dropped["count"], len(dropped["trigger_ids"])) == ("DROPPED_OVERFLOW", 10, 10)
    assert stage.metrics.dropped_triggers.labels("DROPPED_OVERFLOW")._value.get() == 10


async def test_a_job_at_its_limit_reads_little_and_explains_all_that_waits(stage: Stage) -> None:
    job_id = await stage.add_job("j")
    await stage.emit_ids(job_id, "first")
    await stage.triage()
    await flood(stage, job_id, 700)
    await stage.triage()
    assert len(await stage.pending(job_id)) == 700
    record = (await stage.triage_records(job_id))[-1]
    assert record["saw"]["pending"] == 700
    (waiting,) = record["decisions"]
    assert (waiting["reason"], waiting["count"]) == ("AT_CONCURRENCY_LIMIT", 700)
    assert waiting["trigger_ids"] == [f"t{n:05}" for n in range(20)]


async def test_a_hot_job_with_many_waiting_starts_the_oldest_next(stage: Stage) -> None:
    job_id = await stage.add_job("j", policy=TriggeringPolicy(max_concurrent_invocations=3, max_batch_size=1))
    await flood(stage, job_id, 200)
    await stage.triage()
    started = [TriggerList.FromString(run["incoming"]).triggers[0].id for run in await stage.active(job_id)]
    assert sorted(started) == ["t00000", "t00001", "t00002"]
    assert len(await stage.pending(job_id)) == 197


async def test_places_that_late_slots_leave_free_are_given_to_what_was_not_read(stage: Stage) -> None:
    """Of 60 slots as many are read as may run, 50; most are too late to start."""
    wide = TriggeringPolicy(max_concurrent_invocations=50, max_batch_size=1)
    job_id = await stage.add_job("j", policy=wide, schedule="every 1s", start_deadline=timedelta(hours=1))
    now = (await stage.db.fetchval("select ostinato_now()")).replace(microsecond=0)
    for number in range(60):
        late = timedelta(hours=2) if number < 40 else timedelta(0)
        await stage.emit_slot(job_id, 1000 + number, now - late - timedelta(seconds=90 - number))
    await stage.triage_until_quiet()
    assert len(await stage.active(job_id)) == 20
    assert await stage.pending(job_id) == []


async def test_a_flood_is_dropped_in_pieces_and_ends_with_the_newest_thousand(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(triage_loading, "_MOST_OF_ONE_JOB", 1500)
    job_id = await stage.add_job("j", policy=TriggeringPolicy(max_batch_size=1))
    await flood(stage, job_id, 5000)
    assert await stage.triage_until_quiet() == 3  # 1500, 1500, then 1000 and the start of the oldest that is left
    (run,) = await stage.active(job_id)
    assert TriggerList.FromString(run["incoming"]).triggers[0].id == "t04000"
    assert len(await stage.pending(job_id)) == 999


async def test_a_paused_job_is_purged_in_pieces(
    database: Database, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(triage_loading, "_MOST_OF_ONE_JOB", 100)
    job_id = await stage.add_job("j")
    await database.execute("update job set paused = true where job_id = $1", job_id)
    await flood(stage, job_id, 250)
    assert await stage.triage_until_quiet() == 3
    assert await stage.pending(job_id) == []


async def test_floods_that_do_not_fit_together_take_turns_and_quiet_jobs_go_first(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(triage_loading, "_MOST_OF_A_BATCH", 250)
    floods = [await stage.add_job(f"flood{n}") for n in range(3)]
    quiet = await stage.add_job("quiet")
    for job_id in floods:
        await flood(stage, job_id, 200)
    await stage.emit_ids(quiet, "t")
    tasks = await stage.claim()
    outcomes = await stage.triage_jobs.handle_triage_jobs(tasks)
    again = [
        task for task, outcome in zip(tasks, outcomes, strict=True) if outcome and outcome.verdict is Verdict.AGAIN
    ]
    assert [task.payload.job_id for task in again] == floods[1:]
    assert len(await stage.active(quiet)) == 1
    assert [len(await stage.active(job_id)) for job_id in floods] == [1, 0, 0]
    # The tasks were not completed: they are still this worker's, and their turn comes.
    while again:
        outcomes = await stage.triage_jobs.handle_triage_jobs(again)
        again = [task for task, outcome in zip(again, outcomes, strict=True) if outcome is not None]
    assert [len(await stage.active(job_id)) for job_id in floods] == [1, 1, 1]
