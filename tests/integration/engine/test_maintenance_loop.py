"""Housekeeping: ids forgotten in time, partitions ahead, expired ones gone unless they are needed."""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime, timedelta

import asyncpg
import pytest
from prometheus_client import CollectorRegistry

from ostinato.clock import SystemClock
from ostinato.config.database import DatabaseSettings
from ostinato.errors import Unavailable
from ostinato.jobstore.schema import PARTITIONED_TABLES
from ostinato.scheduling.invocation_id import make_invocation_id
from ostinato.storage.partitions import WEEK, ensure_partitions, week_of
from ostinato_engine.engine_metrics import EngineMetrics
from ostinato_engine.maintenance_loop import (
    CONSUMED_IDS_KEPT,
    DEAD_LETTERS_KEPT,
    HISTORY_KEPT,
    WEEKS_AHEAD,
    MaintenanceLoop,
)
from tests.integration.engine.stage import PROJECT_ID, Stage

WEEKS_AHEAD_METRIC = "ostinato_engine_partition_weeks_ahead"


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def loop(stage: Stage, registry: CollectorRegistry) -> MaintenanceLoop:
    return MaintenanceLoop(stage.db, stage.db.settings, clock=SystemClock(), metrics=EngineMetrics(registry))


async def insert_consumed(stage: Stage, count: int, *, ago: timedelta, prefix: str) -> None:
    await stage.db.execute(
        """
        insert into trigger (job_id, trigger_id, kind, created_at, order_in_batch, emitted_by, body, consumed_at)
        select 1, $1 || n, 'EVENT', ostinato_now(), 0, '', '', ostinato_now() - $2::interval
          from generate_series(1, $3) n
        """,
        prefix,
        ago,
        count,
    )


async def partitions(stage: Stage, table: str) -> list[str]:
    rows = await stage.db.fetch(
        "select c.relname::text from pg_inherits i join pg_class c on c.oid = i.inhrelid "
        "where inhparent = to_regclass($1) order by 1",
        table,
    )
    return [row[0] for row in rows]


async def now_of(stage: Stage) -> datetime:
    now: datetime = await stage.db.fetchval("select ostinato_now()")
    return now


async def make_old_partitions(stage: Stage, around: datetime) -> None:
    connection = await asyncpg.connect(stage.db.settings.url)
    await ensure_partitions(connection, PARTITIONED_TABLES, around=around, behind=0, ahead=0)
    await connection.close()


def name_of(table: str, at: datetime) -> str:
    return f"{table}_{week_of(at):%Y%m%d}"


async def test_only_ids_consumed_long_ago_are_forgotten(stage: Stage, loop: MaintenanceLoop) -> None:
    job_id = await stage.add_job("j")
    await stage.emit_ids(job_id, "pending")
    await insert_consumed(stage, 2500, ago=CONSUMED_IDS_KEPT + timedelta(seconds=1), prefix="old")
    await insert_consumed(stage, 3, ago=CONSUMED_IDS_KEPT - timedelta(minutes=1), prefix="young")
    assert await loop.purge_once() == 2500
    left = await stage.db.fetch("select trigger_id from trigger order by 1")
    assert [row[0] for row in left] == ["pending", "young1", "young2", "young3"]


async def test_ids_that_somebody_else_holds_are_left_to_him(stage: Stage, loop: MaintenanceLoop) -> None:
    await insert_consumed(stage, 2, ago=CONSUMED_IDS_KEPT * 2, prefix="old")
    async with stage.db.transaction() as tx:
        await tx.execute("select from trigger where trigger_id = 'old1' for update")
        assert await loop.purge_once() == 1


async def test_dead_letters_are_kept_for_ninety_days(
    stage: Stage, loop: MaintenanceLoop, registry: CollectorRegistry
) -> None:
    await stage.db.execute(
        "insert into tq_dead (id, died_at, strand, fair_key, class_id, attempt, failures, flags, error, payload)"
        " select n, ostinato_now() - $1::interval + case when n > 2500 then 1 else -1 end * interval '1 min',"
        "        512, 0, 1, 1, 1, 0, '', '' from generate_series(1, 2503) n",
        DEAD_LETTERS_KEPT,
    )
    await loop.purge_dead_letters_once()
    assert await stage.db.fetchval("select array_agg(id order by id) from tq_dead") == [2501, 2502, 2503]
    assert registry.get_sample_value("ostinato_engine_dead_letters_purged_total") == 2500


async def test_missing_partitions_are_made_ahead(
    stage: Stage, loop: MaintenanceLoop, registry: CollectorRegistry
) -> None:
    now = await now_of(stage)
    last = name_of("invocation_log", now + WEEKS_AHEAD * WEEK)
    await stage.db.execute(f"drop table {last}")
    await loop.keep_partitions_once()
    assert last in await partitions(stage, "invocation_log")
    assert registry.get_sample_value(WEEKS_AHEAD_METRIC) == WEEKS_AHEAD


async def test_partitions_that_run_out_raise_an_alarm_even_when_none_can_be_made(
    stage: Stage, registry: CollectorRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    now = await now_of(stage)
    for week in range(2, WEEKS_AHEAD + 1):
        await stage.db.execute(f"drop table {name_of('invocation_input', now + week * WEEK)}")
    nowhere = DatabaseSettings("postgresql://nobody@127.0.0.1:1/none")
    loop = MaintenanceLoop(stage.db, nowhere, clock=SystemClock(), metrics=EngineMetrics(registry))
    with caplog.at_level(logging.CRITICAL), pytest.raises(Unavailable):
        await loop.keep_partitions_once()
    assert registry.get_sample_value(WEEKS_AHEAD_METRIC) == 1
    assert "only 1 weeks have partitions" in caplog.text


async def test_expired_partitions_are_dropped_and_younger_ones_stay(stage: Stage, loop: MaintenanceLoop) -> None:
    now = await now_of(stage)
    expired, kept = now - HISTORY_KEPT - WEEK, now - HISTORY_KEPT + WEEK
    await make_old_partitions(stage, expired)
    await make_old_partitions(stage, kept)
    await loop.keep_partitions_once()
    for table in PARTITIONED_TABLES:
        names = await partitions(stage, table.name)
        assert name_of(table.name, expired) not in names
        assert name_of(table.name, kept) in names
        assert await stage.db.fetchval("select to_regclass($1)::text", name_of(table.name, expired)) is None


async def test_engines_that_drop_the_same_partitions_at_once_do_not_get_into_each_others_way(
    stage: Stage, loop: MaintenanceLoop
) -> None:
    """The one that came second told an error, and asked whether its settings were right."""
    now = await now_of(stage)
    expired = [now - HISTORY_KEPT - week * WEEK for week in range(1, 4)]
    for at in expired:
        await make_old_partitions(stage, at)
    await asyncio.gather(*(loop.keep_partitions_once() for _ in range(4)))
    await loop.keep_partitions_once()  # of two that wait for each other the server stops one
    left = {name for table in PARTITIONED_TABLES for name in await partitions(stage, table.name)}
    assert left.isdisjoint({name_of(table.name, at) for table in PARTITIONED_TABLES for at in expired})


@pytest.mark.leaves_damage("an invocation out of nothing")
async def test_a_partition_that_an_active_run_needs_stays(stage: Stage, loop: MaintenanceLoop) -> None:
    expired = await now_of(stage) - HISTORY_KEPT - WEEK
    await make_old_partitions(stage, expired)
    await stage.db.execute(
        """
        insert into invocation (invocation_id, job_id, project_id, status, launch_task_id, created_at, deadline_at)
        values ($1, 1, $2, 3, 0, $3, $3)
        """,
        make_invocation_id(expired, 1),
        PROJECT_ID,
        expired,
    )
    await loop.keep_partitions_once()
    assert name_of("invocation_input", expired) in await partitions(stage, "invocation_input")


async def test_a_detach_that_was_interrupted_is_finished(stage: Stage, loop: MaintenanceLoop) -> None:
    expired = await now_of(stage) - HISTORY_KEPT - WEEK
    await make_old_partitions(stage, expired)
    name = name_of("triage_log", expired)
    await leave_half_detached(stage, "triage_log", name)
    await loop.keep_partitions_once()
    assert name not in await partitions(stage, "triage_log")


async def leave_half_detached(stage: Stage, table: str, name: str) -> None:
    """Cancels a detach while it waits for a reader that is older than it."""
    reading = await asyncpg.connect(stage.db.settings.url)
    detacher = await asyncpg.connect(stage.db.settings.url)
    transaction = reading.transaction()
    await transaction.start()
    await reading.fetch(f"select from {table} limit 1")
    detaching = asyncio.create_task(detacher.execute(f"alter table {table} detach partition {name} concurrently"))
    async with asyncio.timeout(10):
        while not await stage.db.fetchval("select bool_or(inhdetachpending) from pg_inherits"):
            await asyncio.sleep(0.01)
    await stage.db.execute("select pg_cancel_backend($1)", detacher.get_server_pid())
    with pytest.raises(asyncpg.QueryCanceledError):
        await detaching
    await transaction.rollback()
    await reading.close()
    await detacher.close()
