"""Hot statements use their indexes, also on tables that were analysed while they were empty."""

from __future__ import annotations

from datetime import datetime

import pytest

from ostinato.jobstore import job_cron_store, reconcile_store, triage_store, trigger_store
from ostinato.storage.database import Database
from tests.integration.engine.stage import T0

FILL = """
insert into trigger (job_id, trigger_id, created_at, order_in_batch, consumed_at, body)
select n % 200, 't' || n, $1::timestamptz, n, case when n % 20 > 0 then $1 end, '' from generate_series(1, 20000) n
"""
FILL_CRON = """
insert into job_cron (job_id, project_id, job_name, schedule, enabled, generation, slot, due_at)
select n, 1, 'j' || n, '0 3 * * *', true, 1, s, s
  from generate_series(1, 20000) n cross join lateral (select ostinato_now() + n * interval '1 s' as s) soon
"""
FILL_INVOCATIONS = """
insert into invocation (invocation_id, job_id, project_id, status, launch_task_id, created_at, deadline_at)
select n, n % 5000, 1, 3, n, $1::timestamptz, $1 from generate_series(1, 20000) n
"""


pytestmark = pytest.mark.leaves_damage("thousands of rows out of nothing")


@pytest.fixture
async def filled(database: Database) -> Database:
    for table in ("trigger", "job_cron", "invocation"):
        await database.execute(f"vacuum analyze {table}")
    await database.execute(FILL, T0)
    await database.execute(FILL_CRON)
    await database.execute(FILL_INVOCATIONS, T0)
    return database


async def plan(db: Database, sql: str, *arguments: object) -> str:
    return "\n".join(row[0] for row in await db.fetch(f"explain {sql}", *arguments))


async def plan_in_triage(db: Database, sql: str, *arguments: object) -> str:
    async with db.transaction() as tx:
        await triage_store.lock_free_jobs(tx, [])
        return "\n".join(row[0] for row in await tx.fetch(f"explain {sql}", *arguments))


async def test_pending_triggers_of_many_jobs_come_in_order_from_their_index(filled: Database) -> None:
    told = await plan_in_triage(filled, trigger_store._LOAD, list(range(500)), [32] * 500, [2] * 500)
    assert "trigger_pending" in told
    assert "trigger_waiting" in told
    assert "Sort" not in told
    assert "Seq Scan" not in told


async def test_consuming_by_row_version_never_scans(filled: Database) -> None:
    versions = [(0, number) for number in range(1, 500)]
    for sql, arguments in ((trigger_store._DELETE, ()), (trigger_store._BURY, (T0,))):
        told = await plan_in_triage(filled, sql, versions, *arguments)
        assert "Tid Scan" in told
        assert "Seq Scan" not in told


async def test_active_invocations_come_from_the_index_of_their_jobs(filled: Database) -> None:
    told = await plan_in_triage(filled, triage_store._LOAD_ACTIVE, list(range(50)))
    assert "invocation_by_job" in told
    assert "Seq Scan" not in told


async def test_the_move_to_the_history_locks_by_key_and_deletes_by_row_version(filled: Database) -> None:
    told = await plan_in_triage(filled, triage_store._MOVE_TO_HISTORY, list(range(1, 50)))
    assert "invocation_pkey" in told
    assert "Tid Scan" in told
    assert "Seq Scan on invocation" not in told


async def test_what_is_due_and_when_the_next_is_due_are_index_probes(filled: Database) -> None:
    for sql, arguments in ((job_cron_store._LOCK_DUE, (500,)), (job_cron_store._WAIT, ())):
        told = await plan(filled, sql, *arguments)
        assert "job_cron_due" in told
        assert "Seq Scan" not in told


async def test_looking_for_triggers_that_wait_hops_from_job_to_job(filled: Database) -> None:
    told = await plan(filled, reconcile_store._WAITING_JOBS, datetime.resolution, 0, 1000)
    assert told.count("trigger_pending") == 2
    assert told.count("trigger_waiting") == 2
    assert "Seq Scan on trigger" not in told
