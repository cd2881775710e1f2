"""The checker of committed states: it is content with a life in full swing, and each kind of damage is told."""

from __future__ import annotations

from datetime import timedelta

import asyncpg
import pytest

from ostinato.scheduling.job_definition import TriggeringPolicy
from ostinato.testing.invariants import find_violations
from tests.integration.engine.stage import T0, Stage

pytestmark = pytest.mark.leaves_damage("that is what these tests are about")

RUN = "(select max(invocation_id) from invocation where finished_at is null)"
TWICE = (
    "insert into tq_later (id, due_at, strand, class_id, payload) "
    "select id, now(), strand, class_id, payload from tq_ready"
)


async def violations_of(url: str, *, tasks_elsewhere: bool = False) -> list[str]:
    connection = await asyncpg.connect(url)
    try:
        return await find_violations(connection, tasks_elsewhere=tasks_elsewhere)
    finally:
        await connection.close()


@pytest.fixture
async def scene(stage: Stage) -> Stage:
    """Two running, one ended and not acknowledged, triggers that wait, slots decided, a schedule, an interval."""
    busy = await stage.add_job("busy", policy=TriggeringPolicy(max_concurrent_invocations=3, max_batch_size=1))
    clock = await stage.add_job("clock", schedule="every 1h")
    await stage.add_job("interval", schedule="with 10m interval")
    await stage.emit_ids(busy, "a", "b", "c", "waits")
    for number in (1, 2):
        await stage.emit_slot(clock, number, T0 + timedelta(hours=number))
    await stage.triage_until_quiet()
    first, *_ = await stage.active(busy)
    await stage.finish(first["invocation_id"])
    return stage


async def test_a_scheduler_at_work_has_no_violations(scene: Stage, database_url: str) -> None:
    assert await violations_of(database_url) == []
    await scene.triage_until_quiet()
    assert await violations_of(database_url) == []


async def test_of_tasks_that_wait_elsewhere_none_is_missed_and_all_else_is_told(
    scene: Stage, database_url: str
) -> None:
    await scene.db.execute("delete from tq_ready")
    assert await violations_of(database_url) != []
    assert await violations_of(database_url, tasks_elsewhere=True) == []
    await scene.db.execute(f"update invocation set status = 4 where invocation_id = {RUN}")
    (told,) = await violations_of(database_url, tasks_elsewhere=True)
    assert "has status 4 and no end" in told


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ("delete from tq_ready where id in (select launch_task_id from invocation)", "launch task"),
        ("delete from tq_ready", "no triage will acknowledge it"),
        (f"update invocation set deadline_at = now() + interval '1 d' where invocation_id = {RUN}", "deadline at"),
        (f"update invocation set status = 3 where invocation_id = {RUN}", "is running but never started"),
        (f"update invocation set status = 4 where invocation_id = {RUN}", "has status 4 and no end"),
        (f"delete from invocation_input where invocation_id = {RUN}", "has no input"),
        ("delete from job where name = 'busy'", "has no job"),
        ("update tq_ready set claimed_by = 77", "worker 77, which has no lease"),
        (TWICE, "2 times in the queue"),
        ("update job_cron set due_at = null where schedule = 'every 1h'", "is due at"),
        ("update job_cron set due_at = null, slot = null where schedule = 'every 1h'", "nothing is planned"),
        ("update job_cron set due_at = null, slot = null, last_rewind_at = null where schedule like 'with%'",
         "nothing is planned"),
        ("update job_cron set schedule = 'every 2h' where schedule = 'every 1h'", "follows 'every 2h' instead of"),
        ("delete from job_cron where schedule = 'every 1h'", "has no cron row"),
        ("update job_cron set enabled = false, slot = null, due_at = null", "its cron row is not"),
        ("delete from occurrence where outcome = 1", "whose outcome is missing"),
        ("update occurrence set invocation_id = 5 where outcome = 2", "in invocation 5, which does not exist"),
        ("update occurrence set invocation_id = null where outcome = 2", "has outcome 2 and invocation none"),
        ("update occurrence set until_slot = slot + interval '1 day' where outcome = 2", "lies in the range"),
        ("update trigger set slot = (select min(slot) from occurrence), job_id = 2 where consumed_at is null",
         "has an outcome and a pending trigger"),
    ],
)  # fmt: skip
async def test_damage_is_told(scene: Stage, database_url: str, damage: str, told: str) -> None:
    await scene.launches()
    await scene.db.execute(damage)
    violations = await violations_of(database_url)
    assert any(told in sentence for sentence in violations), violations


async def test_an_invocation_in_both_tables_is_told(scene: Stage, database_url: str) -> None:
    await scene.triage_until_quiet()
    columns = "invocation_id, job_id, project_id, created_at, deadline_at"
    await scene.db.execute(
        f"insert into invocation ({columns}, status, launch_task_id, finished_at) "
        f"select {columns}, status, 0, finished_at from invocation_history limit 1"
    )
    assert any("active and in the history" in sentence for sentence in await violations_of(database_url))


async def test_a_pending_trigger_that_nobody_will_see_is_told(stage: Stage, database_url: str) -> None:
    await stage.emit_ids(await stage.add_job("j"), "t")
    await stage.db.execute("delete from tq_ready")
    assert await violations_of(database_url) == ["trigger t of job 1 (j) is pending and no triage will look at it"]


async def test_a_retry_whose_wake_up_was_lost_is_told(stage: Stage, database_url: str) -> None:
    job_id = await stage.add_job("j")
    for paused, told in ((True, 0), (False, 1)):
        for number, not_before in enumerate(("1 h", "-1 h")):
            await stage.db.execute(
                "insert into trigger (job_id, trigger_id, created_at, order_in_batch, body, not_before) "
                f"values ($1, $2, ostinato_now(), 0, '', ostinato_now() + interval '{not_before}')",
                job_id,
                f"retry:{paused}:{number}",
            )
            await stage.db.execute("update job set paused = $1", paused)
            violations = await violations_of(database_url)
            assert len([each for each in violations if "no triage will look at it" in each]) == told
            await stage.db.execute("delete from trigger")


async def test_timers_without_their_tasks_or_runs_are_told(scene: Stage, database_url: str) -> None:
    await scene.db.execute(
        "insert into invocation_timer (invocation_id, timer_id, title, payload, created_at, due_at, task_id) "
        "values (5, 't', '', '', ostinato_now(), ostinato_now(), 77)"
    )
    violations = await violations_of(database_url)
    assert violations == ["timer t of invocation 5 has no task", "timer t outlived invocation 5"]


async def test_a_name_whose_task_is_gone_is_told(scene: Stage, database_url: str) -> None:
    await scene.db.execute("insert into tq_name values (1, gen_random_uuid(), 77, 'infinity')")
    (violation,) = await violations_of(database_url)
    assert "is taken by task 77, which is gone" in violation


async def test_more_runs_than_may_run_are_told(stage: Stage, database_url: str) -> None:
    job_id = await stage.add_job("j", policy=TriggeringPolicy(max_concurrent_invocations=2, max_batch_size=1))
    await stage.emit_ids(job_id, "a", "b")
    await stage.triage()
    columns = "job_id, project_id, status, launch_task_id, created_at, deadline_at"
    await stage.db.execute(
        f"insert into invocation (invocation_id, {columns}) select invocation_id + 1, {columns} from invocation limit 1"
    )
    await stage.db.execute(
        "insert into invocation_input select invocation_id + 1, job_name, job_uid, definition, incoming "
        "from invocation_input where invocation_id + 1 in (select invocation_id from invocation)"
    )
    assert any("3 invocations of job 1 (j) run, 2 may" in sentence for sentence in await violations_of(database_url))


async def test_a_limit_that_was_lowered_may_be_exceeded_by_what_ran_already(stage: Stage, database_url: str) -> None:
    job_id = await stage.add_job("j", policy=TriggeringPolicy(max_concurrent_invocations=2, max_batch_size=1))
    lower = await stage.add_job("k")
    await stage.emit_ids(job_id, "a", "b")
    await stage.triage()
    await stage.db.execute(
        "update job set definition = (select definition from job where job_id = $2) where job_id = $1", job_id, lower
    )
    assert await violations_of(database_url) == []


async def test_a_database_without_the_scheduler_has_none(empty_database_url: str) -> None:
    assert await violations_of(empty_database_url) == []
