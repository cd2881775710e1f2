"""Triage against others: no lost wake-up, no run too many, all or nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from random import Random

import pytest

from ostinato.errors import StaleLease, Unavailable
from ostinato.jobflow.emit_triggers import Emission, emit_triggers
from ostinato.jobflow.engine_tasks import ENGINE_TASK_CLASSES
from ostinato.pb.internal.v1.stored_pb2 import TriggerList
from ostinato.scheduling.job_definition import TriggeringPolicy
from ostinato.storage.database import Database, DatabaseSettings, open_database
from ostinato.taskqueue import Dispatcher, TaskContext, open_dispatcher
from ostinato.taskqueue.outcome import Verdict
from tests.integration.engine.crashes import CrashAt, everything
from tests.integration.engine.stage import PROJECT_ID, T0, Stage, trigger


async def consumed(stage: Stage, job_id: int) -> list[str]:
    runs = await stage.active(job_id)
    return sorted(message.id for run in runs for message in TriggerList.FromString(run["incoming"]).triggers)


async def tasks_left(stage: Stage) -> int:
    count: int = await stage.db.fetchval(
        "select count(*) from tq_ready r join tq_queue q on q.name = 'triages' where r.strand >> 9 = q.queue_id"
    )
    return count


async def test_a_change_between_claim_and_snapshot_is_seen_and_its_own_task_stays(stage: Stage) -> None:
    job_id = await stage.add_job("j")
    await stage.emit_ids(job_id, "early")
    tasks = await stage.claim()
    await stage.emit(job_id, trigger("late"))
    await stage.triage_jobs.handle_triage_jobs(tasks)
    assert await consumed(stage, job_id) == ["early", "late"]
    assert await tasks_left(stage) == 1
    await stage.triage()
    assert await tasks_left(stage) == 0
    assert await consumed(stage, job_id) == ["early", "late"]


async def test_a_change_that_commits_after_the_snapshot_is_triaged_by_its_own_task(
    database: Database, dispatcher: Dispatcher, stage: Stage
) -> None:
    job_id = await stage.add_job("j", policy=TriggeringPolicy(max_concurrent_invocations=5))
    await stage.emit_ids(job_id, "early")
    async with database.transaction() as tx:
        await emit_triggers(tx, dispatcher, [Emission(job_id, PROJECT_ID, trigger("late"))])
        await stage.triage()
        assert await consumed(stage, job_id) == ["early"]
    await stage.triage()
    assert await consumed(stage, job_id) == ["early", "late"]


async def test_all_tasks_of_a_job_in_one_call_are_done_with_one_run(stage: Stage) -> None:
    job_id = await stage.add_job("j")
    for number in range(7):
        await stage.emit_ids(job_id, f"t{number}")
    assert await stage.triage() == [None] * 7
    assert len(await stage.active(job_id)) == 1
    assert await tasks_left(stage) == 0


async def test_a_job_locked_elsewhere_comes_again_and_the_others_are_done(database: Database, stage: Stage) -> None:
    locked, free = await stage.add_job("locked"), await stage.add_job("free")
    for job_id in (locked, free):
        await stage.emit_ids(job_id, "t")
    tasks = await stage.claim()
    async with database.transaction() as tx:
        await tx.execute("select 1 from job where job_id = $1 for no key update", locked)
        outcomes = await stage.triage_jobs.handle_triage_jobs(tasks)
    again = [task for task, outcome in zip(tasks, outcomes, strict=True) if outcome is not None]
    assert [task.payload.job_id for task in again] == [locked]
    assert [outcome.verdict for outcome in outcomes if outcome is not None] == [Verdict.AGAIN]
    assert await consumed(stage, free) == ["t"]
    assert await consumed(stage, locked) == []
    assert await stage.triage_jobs.handle_triage_jobs(again) == [None]
    assert await consumed(stage, locked) == ["t"]


async def triage_to_the_end(stage: Stage, tasks: Sequence[TaskContext]) -> None:
    while tasks:
        outcomes = await stage.triage_jobs.handle_triage_jobs(tasks)
        tasks = [task for task, outcome in zip(tasks, outcomes, strict=True) if outcome is not None]
        await asyncio.sleep(0)


async def test_two_engines_on_one_job_never_run_more_than_it_allows(
    database: Database, dispatcher: Dispatcher, stage: Stage
) -> None:
    other = Stage(database, dispatcher, worker_id=2)
    job_id = await stage.add_job("j", policy=TriggeringPolicy(max_concurrent_invocations=2, max_batch_size=1))
    names = [f"t{number:02}" for number in range(30)]
    seen: list[str] = []
    for name in names:
        await stage.emit_ids(job_id, name)
        await other.kick(job_id)
        mine, theirs = await stage.claim(room=1), await other.claim()
        await asyncio.gather(triage_to_the_end(stage, mine), triage_to_the_end(other, theirs))
        running = [run["invocation_id"] for run in await stage.active(job_id) if run["finished_at"] is None]
        assert len(running) <= 2
        if len(running) == 2:
            seen += await consumed(stage, job_id)
            await stage.finish(*running)
    while await stage.triage_until_quiet():
        running = [run["invocation_id"] for run in await stage.active(job_id)]
        assert len(running) <= 2
        seen += await consumed(stage, job_id)
        if running:
            await stage.finish(*running)
    assert sorted(seen) == names


@pytest.mark.leaves_damage("a claim of a worker that never was")
async def test_a_process_that_lost_its_task_changes_nothing(database: Database, stage: Stage) -> None:
    job_id = await stage.add_job("j")
    await stage.emit_ids(job_id, "t")
    tasks = await stage.claim()
    await database.execute("update tq_ready set claimed_by = 99")
    with pytest.raises(StaleLease):
        await stage.triage_jobs.handle_triage_jobs(tasks)
    assert await stage.pending(job_id) == ["t"]
    assert await stage.active(job_id) == []
    assert (await stage.job(job_id))["last_triage_at"] is None


async def test_a_crash_before_any_step_leaves_everything_and_the_next_run_does_all_of_it(
    database: Database, database_url: str, stage: Stage
) -> None:
    job_id = await stage.add_job("j", policy=TriggeringPolicy(max_concurrent_invocations=2, max_batch_size=2))
    relative = await stage.add_job("relative", schedule="with 10m interval")
    await database.execute(
        "update job_cron set slot = null, due_at = null, last_rewind_at = null where job_id = $1", relative
    )
    await stage.emit_ids(job_id, "old")
    await stage.triage()
    (old,) = await stage.active(job_id)
    await stage.finish(old["invocation_id"])
    await stage.emit_slot(job_id, 1, T0)
    await stage.emit_ids(job_id, "t1", "t2")
    await stage.kick(relative)
    tasks = await stage.claim()
    before = await everything(database)
    gate, crashes = CrashAt(), []
    async with (
        open_database(DatabaseSettings(database_url), gate=gate) as gated,
        open_dispatcher(gated, classes=ENGINE_TASK_CLASSES, notify=False) as dispatcher,
    ):
        triage_jobs = Stage(gated, dispatcher).triage_jobs
        for step in range(1, 100):
            gate.left = step
            try:
                outcomes = await triage_jobs.handle_triage_jobs(tasks)
            except Unavailable:
                crashes.append(gate.step)
                assert await everything(database) == before, f"something stayed of a crash before {gate.step}"
                continue
            break
    assert crashes[-1] == "COMMIT"
    assert len(crashes) > 12
    assert outcomes == [None] * len(tasks)
    runs = {run["invocation_id"]: run for run in await stage.active(job_id)}
    assert await consumed(stage, job_id) == ["cron:v1:1", "t1", "t2"]
    assert len(runs) == 2
    assert await database.fetchval("select count(*) from invocation_history") == 1
    assert await database.fetchval("select slot is not null from job_cron where job_id = $1", relative)
    assert await tasks_left(stage) == 0


async def test_ids_that_are_taken_are_drawn_again(virtual_database_url: str) -> None:
    async with (
        open_database(DatabaseSettings(virtual_database_url)) as database,
        open_dispatcher(database, classes=ENGINE_TASK_CLASSES, notify=False) as dispatcher,
    ):
        await database.execute("insert into testing_clock (now) select clock_timestamp()")
        stage = Stage(database, dispatcher)
        first, second = await stage.add_job("first"), await stage.add_job("second")
        for job_id in (first, second):
            await stage.emit_ids(job_id, "t")
            # The same draws in the same millisecond.
            stage.triage_jobs = stage.new_triage(Random(7))
            await stage.triage()
        (one,), (two,) = await stage.active(first), await stage.active(second)
        assert one["invocation_id"] != two["invocation_id"]
        assert await consumed(stage, second) == ["t"]
