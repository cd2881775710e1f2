"""What a triage does with invocations that have ended: history, the job's marks, the next run."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from ostinato.scheduling.job_definition import RetryPolicy, TriggeringPolicy
from ostinato.storage.database import Database
from tests.integration.engine.stage import T0, Stage

SUCCEEDED, FAILED, ABORTED, TIMED_OUT = 4, 5, 6, 7


async def start(stage: Stage, job_id: int, *ids: str) -> list[int]:
    """One run per id."""
    await stage.emit_ids(job_id, *ids)
    await stage.triage()
    return [run["invocation_id"] for run in await stage.active(job_id)]


async def wide_job(stage: Stage) -> int:
    return await stage.add_job("j", policy=TriggeringPolicy(max_concurrent_invocations=9, max_batch_size=1))


async def marks(stage: Stage, job_id: int) -> dict[str, Any]:
    row = await stage.job(job_id)
    return {name: row[f"last_{name}"] for name in ("completed_at", "success_at", "failure_at", "status", "error")}


async def test_an_ended_invocation_moves_to_the_history_as_it_is(database: Database, stage: Stage) -> None:
    job_id = await stage.add_job("j")
    (run,) = await start(stage, job_id, "t")
    before = dict((await stage.active(job_id))[0])
    await stage.finish(run, status=FAILED, at=T0, error="no answer")
    await stage.triage()
    assert await stage.active(job_id) == []
    after = await database.fetchrow("select * from invocation_history where invocation_id = $1", run)
    assert after is not None
    assert (after["status"], after["finished_at"], after["error_message"]) == (FAILED, T0, "no answer")
    same = ("job_id", "project_id", "attempt", "created_at", "deadline_at", "triggered_by", "revision")
    assert {name: after[name] for name in same} == {name: before[name] for name in same}


@pytest.mark.parametrize(
    ("status", "error", "moved"),
    [
        (SUCCEEDED, "", {"completed_at": T0, "success_at": T0, "failure_at": None, "status": 4, "error": ""}),
        (FAILED, "boom", {"completed_at": T0, "success_at": None, "failure_at": T0, "status": 5, "error": "boom"}),
        (TIMED_OUT, "late", {"completed_at": T0, "success_at": None, "failure_at": T0, "status": 7, "error": "late"}),
        (ABORTED, "ana", {"completed_at": T0, "success_at": None, "failure_at": None, "status": 0, "error": ""}),
    ],
)
async def test_an_end_moves_the_marks_of_its_kind(stage: Stage, status: int, error: str, moved: dict[str, Any]) -> None:
    job_id = await stage.add_job("j")
    (run,) = await start(stage, job_id, "t")
    await stage.finish(run, status=status, at=T0, error=error)
    await stage.triage()
    assert await marks(stage, job_id) == moved


async def test_of_several_ends_the_latest_is_the_last_status_and_each_kind_keeps_its_time(stage: Stage) -> None:
    job_id = await wide_job(stage)
    first, second, third = await start(stage, job_id, "a", "b", "c")
    await stage.finish(first, status=FAILED, at=T0 + timedelta(seconds=3), error="boom")
    await stage.finish(second, status=SUCCEEDED, at=T0 + timedelta(seconds=5))
    await stage.finish(third, status=ABORTED, at=T0 + timedelta(seconds=9))
    await stage.triage()
    assert await marks(stage, job_id) == {
        "completed_at": T0 + timedelta(seconds=9),
        "success_at": T0 + timedelta(seconds=5),
        "failure_at": T0 + timedelta(seconds=3),
        "status": SUCCEEDED,
        "error": "",
    }


async def test_marks_only_move_forward(stage: Stage) -> None:
    job_id = await wide_job(stage)
    first, second = await start(stage, job_id, "a", "b")
    await stage.finish(first, status=SUCCEEDED, at=T0)
    await stage.triage()
    await stage.finish(second, status=SUCCEEDED, at=T0 - timedelta(hours=1))
    await stage.triage()
    assert (await marks(stage, job_id))["success_at"] == T0


async def test_an_end_is_acknowledged_once_and_said_in_the_record(stage: Stage) -> None:
    job_id = await stage.add_job("j")
    (run,) = await start(stage, job_id, "t")
    await stage.finish(run)
    await stage.kick(job_id)
    await stage.triage()
    await stage.kick(job_id)
    await stage.triage()
    assert [record["saw"] for record in await stage.triage_records(job_id)] == [
        {"pending": 1, "active": 0, "finished_since": 0},
        {"pending": 0, "active": 0, "finished_since": 1},
    ]


async def planned_slot(stage: Stage, job_id: int) -> datetime | None:
    slot: datetime | None = await stage.db.fetchval("select slot from job_cron where job_id = $1", job_id)
    return slot


async def test_an_interval_counts_from_the_triage_that_sees_nothing_running(stage: Stage) -> None:
    job_id = await stage.add_job("j", schedule="with 10m interval")
    (run,) = await start(stage, job_id, "t")
    # The schedule fired meanwhile and waits for the end of what it started.
    await stage.db.execute(
        "update job_cron set slot = null, due_at = null, last_rewind_at = null where job_id = $1", job_id
    )
    await stage.kick(job_id)
    await stage.triage()
    assert await planned_slot(stage, job_id) is None
    await stage.finish(run)
    await stage.triage()
    triaged_at = (await stage.job(job_id))["last_triage_at"]
    assert await planned_slot(stage, job_id) == triaged_at + timedelta(minutes=10)


@pytest.mark.parametrize(("status", "pause"), [(FAILED, 30), (SUCCEEDED, 1), (ABORTED, 1)])
async def test_after_a_failure_a_relative_schedule_waits_for_the_backoff_of_retries(
    stage: Stage, status: int, pause: int
) -> None:
    job_id = await stage.add_job("j", schedule="continuously", retry=RetryPolicy(min_backoff=timedelta(seconds=30)))
    (run,) = await start(stage, job_id, "t")
    await stage.db.execute(
        "update job_cron set slot = null, due_at = null, last_rewind_at = null where job_id = $1", job_id
    )
    await stage.finish(run, status=status)
    await stage.triage()
    triaged_at = (await stage.job(job_id))["last_triage_at"]
    assert await planned_slot(stage, job_id) == triaged_at + timedelta(seconds=pause)


async def test_a_cron_expression_is_not_moved_by_the_end_of_a_run(stage: Stage) -> None:
    job_id = await stage.add_job("j", schedule="0 3 * * *")
    planned = await planned_slot(stage, job_id)
    (run,) = await start(stage, job_id, "t")
    await stage.finish(run)
    await stage.triage()
    assert await planned_slot(stage, job_id) == planned
