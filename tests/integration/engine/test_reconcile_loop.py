"""The reconciler: sets going again what lost its task, leaves alone what is on its way, and says what it found."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from ostinato.clock import SystemClock
from ostinato.errors import Unavailable
from ostinato.jobflow.engine_tasks import HANDLE_TIMER, LAUNCH_INVOCATION
from ostinato.scheduling.job_definition import TriggeringPolicy
from ostinato.scheduling.schedule import CatchUp, CatchUpPolicy, ScheduleTerms
from ostinato.storage.database import Database
from ostinato.storage.transaction import Row
from ostinato.taskqueue import Dispatcher, TaskClass, missing_tasks
from ostinato_engine import reconcile_loop
from ostinato_engine.cron_loop import CronLoop
from ostinato_engine.reconcile_loop import Reconciled, ReconcileLoop
from tests.integration.engine.stage import Stage

OLD = timedelta(minutes=2)


def cron_of(stage: Stage) -> CronLoop:
    return CronLoop(stage.db, stage.dispatcher, clock=SystemClock(), metrics=stage.metrics)


def loop_of(stage: Stage) -> ReconcileLoop:
    return ReconcileLoop(
        stage.db, stage.dispatcher, clock=SystemClock(), metrics=stage.metrics, fire_due=cron_of(stage).fire_due
    )


async def started(stage: Stage, job_id: int, trigger_id: str = "t") -> Row:
    await stage.emit_ids(job_id, trigger_id)
    await stage.triage()
    (run,) = await stage.active(job_id)
    return run


async def age_everything(stage: Stage) -> None:
    """Two minutes pass."""
    for table, columns in {
        "invocation": ("created_at", "finished_at"),
        "trigger": ("created_at",),
        "job": ("last_triage_at",),
    }.items():
        for column in columns:
            await stage.db.execute(f"update {table} set {column} = {column} - $1::interval", OLD)


async def lose_tasks(stage: Stage) -> None:
    await stage.db.execute("delete from tq_ready")


def counted(stage: Stage, what: str) -> float:
    return stage.metrics.reconciled.labels(what)._value.get()


async def test_an_end_that_nobody_acknowledged_is_triaged(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    job_id = await stage.add_job("j")
    run = await started(stage, job_id)
    await stage.finish(run["invocation_id"])
    await lose_tasks(stage)
    await age_everything(stage)
    with caplog.at_level(logging.WARNING):
        assert await loop_of(stage).reconcile() == Reconciled(finishes=1)
    await stage.triage()
    assert await stage.active(job_id) == []
    assert counted(stage, "FINISH") == 1
    assert "no triage would have acknowledged" in caplog.text
    assert await loop_of(stage).reconcile() == Reconciled()


async def test_a_launch_whose_task_is_gone_gets_a_new_one(
    database: Database, stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    lost, healthy = await stage.add_job("lost"), await stage.add_job("healthy")
    run, other = await started(stage, lost), await started(stage, healthy)
    await database.execute("delete from tq_ready where id = $1", run["launch_task_id"])
    await age_everything(stage)
    with caplog.at_level(logging.WARNING):
        assert await loop_of(stage).reconcile() == Reconciled(launches=1)
    tasks = {task.payload.invocation_id: task.id for task in await stage.launches()}
    (now,), (untouched,) = await stage.active(lost), await stage.active(healthy)
    assert tasks == {run["invocation_id"]: now["launch_task_id"], other["invocation_id"]: other["launch_task_id"]}
    assert now["launch_task_id"] != run["launch_task_id"]
    assert (now["version"], untouched["launch_task_id"]) == (run["version"], other["launch_task_id"])
    assert counted(stage, "LAUNCH") == 1
    assert "launches whose task was gone" in caplog.text


async def test_a_dead_lettered_launch_does_not_freeze_its_job(database: Database, stage: Stage) -> None:
    await started(stage, await stage.add_job("j"))
    await database.execute(
        """
        with gone as (delete from tq_ready returning *)
        insert into tq_dead (id, died_at, strand, fair_key, class_id, attempt, failures, flags, error, payload, header)
        select id, ostinato_now(), strand, fair_key, class_id, attempt, failures, flags, 'x', payload, header from gone
        """
    )
    await age_everything(stage)
    assert await loop_of(stage).reconcile() == Reconciled(launches=1)


async def test_a_launch_that_waits_for_its_retry_is_on_its_way(database: Database, stage: Stage) -> None:
    run = await started(stage, await stage.add_job("j"))
    await database.execute("update invocation set status = 2")
    await database.execute(
        """
        with gone as (delete from tq_ready returning *)
        insert into tq_later (id, due_at, strand, class_id, payload)
        select id, ostinato_now() + interval '5 min', strand, class_id, payload from gone
        """
    )
    await age_everything(stage)
    assert await missing_tasks(stage.dispatcher, LAUNCH_INVOCATION, [run["launch_task_id"]]) == set()
    assert await loop_of(stage).reconcile() == Reconciled()


@pytest.mark.leaves_damage("statuses are written by hand")
@pytest.mark.parametrize("status", [3, 4])
async def test_what_runs_or_has_ended_is_not_launched_again(database: Database, stage: Stage, status: int) -> None:
    run = await started(stage, await stage.add_job("j"))
    await database.execute("update invocation set status = $1", status)
    await lose_tasks(stage)
    await age_everything(stage)
    assert (await loop_of(stage).reconcile()).launches == 0
    assert await database.fetchval("select launch_task_id from invocation") == run["launch_task_id"]


@pytest.mark.leaves_damage("statuses are written by hand")
async def test_a_launch_that_ends_while_it_is_looked_for_is_left_alone(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    await started(stage, await stage.add_job("j"))
    await age_everything(stage)

    async def launch_ends_first(dispatcher: Dispatcher, task_class: TaskClass[Any], ids: Sequence[int]) -> set[int]:
        async with dispatcher.db.transaction() as tx:
            await tx.execute("delete from tq_ready")
            await tx.execute("update invocation set status = 3, version = version + 1")
        return await missing_tasks(dispatcher, task_class, ids)

    monkeypatch.setattr(reconcile_loop, "missing_tasks", launch_ends_first)
    assert await loop_of(stage).reconcile() == Reconciled()
    assert await stage.launches() == []


async def test_two_reconcilers_add_one_launch_between_them(stage: Stage) -> None:
    job_id = await stage.add_job("j", policy=TriggeringPolicy(max_concurrent_invocations=50, max_batch_size=1))
    await stage.emit_ids(job_id, *(f"t{number}" for number in range(50)))
    await stage.triage()
    await lose_tasks(stage)
    await age_everything(stage)
    found = await asyncio.gather(*(loop_of(stage).reconcile() for _ in range(2)))
    assert sum(each.launches for each in found) == 50
    assert await stage.db.fetchval("select count(*) from tq_ready") == 50


async def test_a_pending_trigger_whose_kick_was_lost_is_triaged(stage: Stage) -> None:
    job_id, idle = await stage.add_job("j"), await stage.add_job("idle")
    await stage.kick(job_id, idle)
    await stage.triage()
    await age_everything(stage)
    await stage.emit_ids(job_id, "t")
    await stage.db.execute("update trigger set created_at = ostinato_now() - interval '61 s'")
    await lose_tasks(stage)
    assert await loop_of(stage).reconcile() == Reconciled(triages=1)
    await stage.triage()
    assert len(await stage.active(job_id)) == 1
    assert counted(stage, "TRIAGE") == 1


async def test_triggers_that_wait_for_a_run_to_end_are_not_unseen(stage: Stage) -> None:
    job_id = await stage.add_job("j")
    await started(stage, job_id)
    await stage.emit_ids(job_id, "waits")
    await stage.triage()
    await age_everything(stage)
    await stage.db.execute("update trigger set created_at = created_at - interval '1 min'")  # before the last triage
    assert (await loop_of(stage).reconcile()).triages == 0


@pytest.mark.parametrize(("limit", "found"), [(1, 0), (2, 1), (3, 1)])
async def test_a_lost_kick_is_found_although_another_run_of_the_job_lasts(stage: Stage, limit: int, found: int) -> None:
    """Any active run of a job hid that a trigger waited which could have started beside it."""
    job_id = await stage.add_job("j", policy=TriggeringPolicy(max_concurrent_invocations=limit))
    await started(stage, job_id)
    await stage.emit_ids(job_id, "beside")
    await stage.db.execute("delete from tq_ready where strand >> 9 = $1", stage.dispatcher.queue_ids["triages"])
    await age_everything(stage)
    assert await loop_of(stage).reconcile() == Reconciled(triages=found)
    if found:
        await stage.triage()
    assert len(await stage.active(job_id)) == 1 + found


async def test_a_job_that_cannot_be_read_waits_for_a_definition_and_not_for_a_triage(stage: Stage) -> None:
    job_id = await stage.add_job("j")
    await stage.emit_ids(job_id, "t")
    await stage.triage()
    await stage.db.execute("update job set definition = '\\xff'")
    await stage.emit_ids(job_id, "u")
    await stage.triage()
    await age_everything(stage)
    assert (await loop_of(stage).reconcile()).triages == 0


async def test_a_trigger_with_an_old_timestamp_is_not_unseen_while_its_kick_waits(stage: Stage) -> None:
    job_id = await stage.add_job("j")
    await stage.kick(job_id)
    await stage.triage()
    await stage.emit_ids(job_id, "t")
    # Its emitter's clock was behind: the trigger looks older than the last triage.
    await stage.db.execute("update trigger set created_at = created_at - interval '10 min'")
    await age_everything(stage)
    assert await loop_of(stage).reconcile() == Reconciled()
    await stage.claim()
    assert await loop_of(stage).reconcile() == Reconciled()  # a triage is at it
    await lose_tasks(stage)
    assert await loop_of(stage).reconcile() == Reconciled(triages=1)


async def wait_for_a_run_of_its_own(stage: Stage, job_id: int, not_before: str) -> None:
    await stage.db.execute(
        "insert into trigger (job_id, trigger_id, kind, created_at, order_in_batch, body, not_before) "
        f"values ($1, 'retry:x', 'RETRY', ostinato_now(), 0, '', ostinato_now() + interval '{not_before}')",
        job_id,
    )


@pytest.mark.leaves_damage("the job is paused by hand, its cron row stays")
@pytest.mark.parametrize(
    ("not_before", "paused", "found"), [("-2 min", False, 1), ("-2 min", True, 0), ("1 min", True, 0)]
)
async def test_a_retry_whose_time_passed_without_a_triage_is_triaged(
    stage: Stage, not_before: str, paused: bool, found: int
) -> None:
    job_id = await stage.add_job("j")
    await wait_for_a_run_of_its_own(stage, job_id, not_before)
    await stage.db.execute("update job set paused = $1", paused)
    assert await loop_of(stage).reconcile() == Reconciled(triages=found)


async def test_a_schedule_that_lost_its_due_time_is_planned_again(stage: Stage) -> None:
    await stage.add_job("hourly", schedule="every 1h")
    await stage.add_job("interval", schedule="with 10m interval")
    await stage.add_job("triggered")
    before = await stage.db.fetch("select slot from job_cron where due_at is not null order by job_id")
    await stage.db.execute("update job_cron set due_at = null, slot = null")
    assert await loop_of(stage).reconcile() == Reconciled(ticks=2)
    assert await stage.db.fetch("select slot from job_cron where due_at is not null order by job_id") == before
    assert counted(stage, "TICK") == 2
    assert await loop_of(stage).reconcile() == Reconciled()


async def test_a_slot_whose_due_time_was_lost_is_not_lost_with_it(stage: Stage) -> None:
    job_id = await stage.add_job("hourly", schedule="every 1h")
    await stage.db.execute("update job_cron set due_at = null, slot = slot - interval '2 h'")
    assert await loop_of(stage).reconcile() == Reconciled(ticks=1)
    assert await loop_of(stage).reconcile() == Reconciled()  # being due is the business of the clock of schedules
    await cron_of(stage).fire_due()
    assert await stage.pending(job_id)


async def test_the_slot_of_a_paused_job_that_makes_up_for_it_stays_without_a_due_time(stage: Stage) -> None:
    terms = ScheduleTerms(catch_up=CatchUp(CatchUpPolicy.ALL))
    job_id = await stage.add_job("hourly", schedule="every 1h", terms=terms)
    async with stage.db.transaction() as tx:
        await tx.execute("update job set paused = true where job_id = $1", job_id)
        wish = await stage._wish(job_id, "hourly", "every 1h", terms, paused=True)
        await stage.poke(tx, [wish])
    assert await stage.db.fetchval("select slot is not null and due_at is null from job_cron")
    assert await loop_of(stage).reconcile() == Reconciled()
    assert await stage.db.fetchval("select due_at is null from job_cron")


async def test_an_interval_that_waits_for_an_end_that_was_forgotten_is_rewound(stage: Stage) -> None:
    job_id = await stage.add_job("interval", schedule="with 10m interval")
    await stage.db.execute("update job_cron set due_at = null, slot = null, last_rewind_at = null")
    assert await loop_of(stage).reconcile() == Reconciled(ticks=1)
    await stage.triage()
    assert await stage.db.fetchval("select due_at from job_cron where job_id = $1", job_id) is not None
    assert await loop_of(stage).reconcile() == Reconciled()


@pytest.mark.leaves_damage("a schedule that ended is written by hand")
async def test_schedules_that_rightly_plan_nothing_are_left_alone(stage: Stage) -> None:
    interval = await stage.add_job("interval", schedule="with 10m interval")
    await started(stage, interval)
    await stage.db.execute("update job_cron set due_at = null, slot = null, last_rewind_at = null")
    ended = await stage.add_job("ended", schedule="0 0 1 1 * 2099")
    await stage.db.execute(
        "update job_cron set due_at = null, slot = null, schedule = '0 0 1 1 * 2001' where job_id = $1", ended
    )
    assert await loop_of(stage).reconcile() == Reconciled()


async def test_a_slot_that_is_due_for_two_rounds_is_fired(stage: Stage) -> None:
    job_id = await stage.add_job("hourly", schedule="every 1h")
    await stage.db.execute("update job_cron set due_at = due_at - interval '2 h', slot = slot - interval '2 h'")
    loop = loop_of(stage)
    assert await loop.reconcile() == Reconciled()  # the clock of schedules may be just about to
    assert await loop.reconcile() == Reconciled(ticks=1)
    assert len(await stage.pending(job_id)) == 1
    assert await loop.reconcile() == Reconciled()


async def test_a_timer_whose_task_was_lost_is_brought_again_once(stage: Stage) -> None:
    run = await started(stage, await stage.add_job("j"))
    task_id = await stage.db.fetchval("select max(id) + 1 from tq_ready")
    await stage.db.execute(
        "insert into invocation_timer (invocation_id, timer_id, title, payload, created_at, due_at, task_id) "
        "values ($1, 't', '', '', ostinato_now(), ostinato_now() - interval '2 min', $2)",
        run["invocation_id"],
        task_id,
    )
    found = await asyncio.gather(*(loop_of(stage).reconcile() for _ in range(3)))
    assert sum(each.timers for each in found) == 1
    (timer,) = await stage.claim(HANDLE_TIMER)
    assert (timer.payload.invocation_id, timer.payload.timer_id) == (run["invocation_id"], "t")
    assert await stage.db.fetchval("select task_id from invocation_timer") == timer.id
    assert await loop_of(stage).reconcile() == Reconciled()


@pytest.mark.leaves_damage("the tasks of the young ones are lost")
async def test_only_jobs_whose_triggers_are_old_enough_are_found_among_many(stage: Stage) -> None:
    jobs = [await stage.add_job(f"j{number}") for number in range(10)]
    for job_id in jobs:
        await stage.emit_ids(job_id, "a", "b")
    await lose_tasks(stage)
    await stage.db.execute("update trigger set created_at = ostinato_now()")
    await stage.db.execute(
        "update trigger set created_at = ostinato_now() - interval '2 min' where job_id = any($1::bigint[])", jobs[3:6]
    )
    assert (await loop_of(stage).reconcile()).triages == 3
    assert sorted(task.payload.job_id for task in await stage.claim()) == jobs[3:6]


@pytest.mark.leaves_damage("tasks are lost")
async def test_young_things_are_left_to_those_who_are_at_it(stage: Stage) -> None:
    job_id = await stage.add_job("j")
    run = await started(stage, job_id)
    await stage.finish(run["invocation_id"])
    await stage.emit_ids(job_id, "late")
    await stage.db.execute("update trigger set created_at = ostinato_now()")
    await lose_tasks(stage)
    assert await loop_of(stage).reconcile() == Reconciled()


async def test_when_all_is_well_nothing_is_written_or_said(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    await started(stage, await stage.add_job("j"))
    await age_everything(stage)
    await stage.db.execute("update trigger set created_at = ostinato_now() where consumed_at is null")
    with caplog.at_level(logging.WARNING):
        assert await loop_of(stage).reconcile() == Reconciled()
    assert caplog.text == ""


async def test_the_loop_goes_on_after_a_database_error(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    rounds = 0
    done = asyncio.Event()

    async def reconcile(_: ReconcileLoop) -> Reconciled:
        nonlocal rounds
        rounds += 1
        if rounds == 1:
            raise Unavailable("the database is away")
        done.set()
        return Reconciled()

    monkeypatch.setattr(ReconcileLoop, "reconcile", reconcile)
    loop = ReconcileLoop(
        stage.db,
        stage.dispatcher,
        clock=SystemClock(),
        metrics=stage.metrics,
        fire_due=asyncio.Event().wait,
        every=timedelta(milliseconds=1),
    )
    task = asyncio.ensure_future(loop.run())
    async with asyncio.timeout(10):
        await done.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert "nothing was reconciled: the database is away" in caplog.text
