"""Triage beside everything else that locks jobs, cron rows and invocations: nobody waits in a circle."""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from ostinato.jobflow.finish_invocations import apply_changes
from ostinato.jobflow.invocation_change import InvocationChange
from ostinato.jobflow.poke_cron import rewind
from ostinato.jobstore.invocation_store import load_invocations
from ostinato.jobstore.job_store import lock_jobs
from ostinato.scheduling.invocation import InvocationStatus
from ostinato.scheduling.invocation_id import InvocationId
from ostinato.scheduling.job_definition import Downstream, TriggeringPolicy
from ostinato.storage.database import Database, DatabaseSettings, open_database
from ostinato.taskqueue import Dispatcher
from ostinato_engine import triage_jobs as triage_module
from tests.integration.engine.runs import start_run
from tests.integration.engine.stage import Stage


async def finish_all(stage: Stage, ids: list[int]) -> None:
    """As launches and notifications do: one transaction for many runs, in whichever order they come."""
    async with stage.db.transaction() as tx:
        found = await load_invocations(tx, [InvocationId(number) for number in ids])
        open_runs = [found[InvocationId(number)] for number in ids if InvocationId(number) in found]
        changes = [
            InvocationChange(invocation=run, to_status=InvocationStatus.SUCCEEDED)
            for run in open_runs
            if run.status < InvocationStatus.SUCCEEDED
        ]
        await apply_changes(tx, stage.dispatcher, changes)


async def test_a_run_ends_while_its_job_is_locked(database: Database, stage: Stage) -> None:
    run = await start_run(stage)
    async with database.transaction() as tx:
        await lock_jobs(tx, [run.job_id])
        async with asyncio.timeout(5):
            await finish_all(stage, [run.id])
    await stage.triage()
    assert await stage.active(run.job_id) == []


async def test_triggers_are_emitted_while_the_job_is_triaged(database: Database, stage: Stage) -> None:
    job_id = await stage.add_job("j")
    async with database.transaction() as tx:
        await lock_jobs(tx, [job_id])
        async with asyncio.timeout(5):
            await stage.emit_ids(job_id, "t")
    assert await stage.pending(job_id) == ["t"]


async def test_new_ids_are_claimed_in_their_order(stage: Stage) -> None:
    """Two triages of one millisecond that draw the same ids would else wait for each other."""
    job_id = await stage.add_job("j", policy=TriggeringPolicy(max_concurrent_invocations=20, max_batch_size=1))
    await stage.emit_ids(job_id, *(f"t{number}" for number in range(20)))
    await stage.triage()
    inserted = [row[0] for row in await stage.db.fetch("select invocation_id from invocation_input order by ctid")]
    assert len(inserted) == 20
    assert inserted == sorted(inserted)


@pytest.mark.leaves_damage("jobs are paused by hand, their cron rows stay")
async def test_everything_at_once_never_deadlocks(
    database_url: str, dispatcher: Dispatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(triage_module, "_ATTEMPTS", 1)  # a deadlock is an error here, not a reason to try again
    async with open_database(DatabaseSettings(database_url, pool_size=8)) as db:
        stages = [Stage(db, dispatcher, worker_id=number) for number in (1, 2)]
        policy = TriggeringPolicy(max_concurrent_invocations=5, max_batch_size=1)
        jobs = [
            await stages[0].add_job(
                f"j{number}",
                policy=policy,
                schedule="with 1s interval",
                downstream=(Downstream(f"j{(number + 1) % 4}"),),
            )
            for number in range(4)
        ]
        done = asyncio.Event()
        async with asyncio.timeout(40), asyncio.TaskGroup() as group:
            group.create_task(_emit(stages[0], jobs, done))
            group.create_task(_pause_and_resume(stages[0], jobs, Random(3), done))
            for stage in stages:
                group.create_task(_finish(stage, Random(stage.worker_id), done))
                group.create_task(_triage(stage, done))
            await stages[0].until("select count(*) > 60 from invocation_history", seconds=30)
            done.set()


async def _emit(stage: Stage, jobs: list[int], done: asyncio.Event) -> None:
    number = 0
    while not done.is_set():
        number += 1
        for job_id in jobs:
            await stage.emit_ids(job_id, f"a{number}", f"b{number}")


async def _finish(stage: Stage, random: Random, done: asyncio.Event) -> None:
    while not done.is_set():
        ids = [row[0] for row in await stage.db.fetch("select invocation_id from invocation")]
        random.shuffle(ids)
        await finish_all(stage, ids)


async def _triage(stage: Stage, done: asyncio.Event) -> None:
    while not done.is_set():
        tasks = await stage.claim(room=20)
        if tasks:
            await stage.triage_jobs.handle_triage_jobs(tasks)


async def _pause_and_resume(stage: Stage, jobs: list[int], random: Random, done: asyncio.Event) -> None:
    while not done.is_set():
        some = random.sample(jobs, 3)
        async with stage.db.transaction() as tx:
            await lock_jobs(tx, some)
            await tx.execute("update job set paused = not paused where job_id = any($1::bigint[])", some)
            now = await tx.now()
            await rewind(tx, dict.fromkeys(some, now), now)
        await asyncio.sleep(0)
