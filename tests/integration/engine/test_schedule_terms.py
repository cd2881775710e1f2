"""Zones, delays and blackouts from the stored definition to the ledger and the run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ostinato.clock import SystemClock
from ostinato.pb.internal.v1.stored_pb2 import TriggerList
from ostinato.scheduling.occurrence import OccurrenceOutcome
from ostinato.scheduling.schedule import Blackout, GapPolicy, ScheduleTerms
from ostinato.storage.transaction import Row
from ostinato.zones import tzdata_version
from ostinato_engine.cron_loop import CronLoop
from tests.integration.engine.stage import Stage
from tests.integration.engine.standing_clock import at_time, triage_today

HOUR = timedelta(hours=1)
GAP = datetime(2026, 3, 8, 7, tzinfo=UTC)  # the end of New York's


def loop_of(stage: Stage) -> CronLoop:
    return CronLoop(stage.db, stage.dispatcher, clock=SystemClock(), metrics=stage.metrics)


async def cron_row(stage: Stage, job_id: int) -> Row:
    row = await stage.db.fetchrow("select * from job_cron where job_id = $1", job_id)
    assert row is not None
    return row


async def ledger(stage: Stage, job_id: int) -> list[tuple[Any, ...]]:
    rows = await stage.db.fetch(
        "select slot, until_slot, outcome, fold_tag from occurrence where job_id = $1 order by slot, fold_tag", job_id
    )
    return [(row[0], row[1], OccurrenceOutcome(row[2]).name, row[3]) for row in rows]


async def test_a_slot_fires_in_its_zone_when_it_is_due_and_the_run_says_so(stage: Stage) -> None:
    await at_time(stage, GAP - 12 * HOUR)
    terms = ScheduleTerms(time_zone="America/New_York", offset=timedelta(minutes=10))
    job_id = await stage.add_job("j", schedule="30 2 * * *", terms=terms)
    row = await cron_row(stage, job_id)
    assert (row["slot"], row["due_at"]) == (GAP, GAP + timedelta(minutes=10))
    await at_time(stage, GAP + timedelta(minutes=9, seconds=59))
    assert await loop_of(stage).fire_due() == 0
    await at_time(stage, GAP + timedelta(minutes=10))
    assert await loop_of(stage).fire_due() == 1
    await triage_today(stage)
    assert await ledger(stage, job_id) == [(GAP, None, "STARTED", 0)]
    (run,) = await stage.active(job_id)
    assert run["scheduled_for"] == GAP
    (trigger,) = TriggerList.FromString(run["incoming"]).triggers
    assert trigger.cron.due_time.ToDatetime(tzinfo=UTC) == GAP + timedelta(minutes=10)
    assert trigger.cron.tzdata_version == tzdata_version()
    following = datetime(2026, 3, 9, 6, 30, tzinfo=UTC)
    assert (await cron_row(stage, job_id))["slot"] == following


async def test_a_time_that_a_gap_leaves_out_is_in_the_ledger_beside_a_slot_of_the_same_instant(stage: Stage) -> None:
    await at_time(stage, GAP - 12 * HOUR)
    terms = ScheduleTerms(time_zone="America/New_York", gap_policy=GapPolicy.SKIP)
    job_id = await stage.add_job("j", schedule="0 2,3 * * *", terms=terms)
    await at_time(stage, GAP)
    assert await loop_of(stage).fire_due() == 1
    await triage_today(stage)
    assert await ledger(stage, job_id) == [(GAP, None, "STARTED", 0), (GAP, None, "SKIPPED_DST_GAP", 1)]


async def test_slots_in_a_blackout_are_one_range_of_the_ledger_and_start_nothing(stage: Stage) -> None:
    start = datetime(2026, 5, 1, tzinfo=UTC)
    await at_time(stage, start - timedelta(minutes=5))
    terms = ScheduleTerms(blackouts=(Blackout(start, start + 24 * HOUR),))
    job_id = await stage.add_job("j", schedule="* * * * * * *", terms=terms)
    await stage.db.execute("update job_cron set slot = $1, due_at = $2", start, start + 24 * HOUR)
    await at_time(stage, start + 24 * HOUR - timedelta(seconds=1))
    assert await loop_of(stage).fire_due() == 0
    await at_time(stage, start + 24 * HOUR)
    assert await loop_of(stage).fire_due() == 1
    assert await stage.db.fetchval("select slot from trigger") == start + 24 * HOUR
    assert await ledger(stage, job_id) == [(start, start + 24 * HOUR, "SKIPPED_BLACKOUT", 0)]


async def test_a_blackout_that_ends_with_the_schedule_fires_nothing_and_goes_on_to_nothing(stage: Stage) -> None:
    start = datetime(2026, 5, 1, tzinfo=UTC)
    await at_time(stage, start - HOUR / 2)
    terms = ScheduleTerms(end_before=start + 2 * HOUR, blackouts=(Blackout(start, start + 9 * HOUR),))
    job_id = await stage.add_job("j", schedule="every 1h", terms=terms)
    await at_time(stage, start + 10 * HOUR)
    assert await loop_of(stage).fire_due() == 1
    assert await ledger(stage, job_id) == [(start, start + 9 * HOUR, "SKIPPED_BLACKOUT", 0)]
    row = await cron_row(stage, job_id)
    assert (row["slot"], row["due_at"], await stage.pending(job_id)) == (None, None, [])
    assert await loop_of(stage).fire_due() == 0


@pytest.mark.parametrize(("age", "outcome"), [(23 * HOUR, "STARTED"), (25 * HOUR, "SKIPPED_CATCHUP")])
async def test_an_at_that_is_past_runs_once_if_its_job_is_not_much_later(
    stage: Stage, age: timedelta, outcome: str
) -> None:
    instant = datetime(2026, 5, 1, tzinfo=UTC)
    await at_time(stage, instant + age)
    job_id = await stage.add_job("j", schedule="at 2026-05-01T00:00:00Z")
    await loop_of(stage).fire_due()
    await triage_today(stage)
    assert await ledger(stage, job_id) == [(instant, None, outcome, 0)]
    assert (await cron_row(stage, job_id))["due_at"] is None


async def test_a_hash_and_jitter_are_those_of_the_job_s_name(stage: Stage) -> None:
    jobs = [await stage.add_job(f"j{n}", schedule="H H 1 1 *") for n in range(20)]
    slots = {(await cron_row(stage, job_id))["slot"] for job_id in jobs}
    assert len(slots) > 15
    terms = ScheduleTerms(jitter=HOUR)
    spread = [await cron_row(stage, await stage.add_job(f"k{n}", schedule="0 0 1 1 *", terms=terms)) for n in range(20)]
    delays = {row["due_at"] - row["slot"] for row in spread}
    assert len(delays) > 15
    assert max(delays) <= HOUR


async def test_a_slot_that_waits_too_long_for_a_free_place_is_dropped_at_its_deadline(stage: Stage) -> None:
    job_id = await stage.add_job("j", schedule="0 0 1 1 *", start_deadline=HOUR)
    await stage.emit_ids(job_id, "first")
    await stage.triage()
    now = await stage.db.fetchval("select date_trunc('second', ostinato_now())")
    await stage.emit_slot(job_id, 7, now)
    await stage.triage()
    wake_at = (await stage.job(job_id))["wake_at"]
    assert wake_at == now + HOUR
    await stage.db.execute("update trigger set slot = slot - interval '1 h' where trigger_id = 'cron:v1:7'")
    await stage.kick(job_id)
    await stage.triage()
    assert await ledger(stage, job_id) == [(now - HOUR, None, "START_DEADLINE", 0)]
    assert await stage.pending(job_id) == []
    (record, *_) = reversed(await stage.triage_records(job_id))
    assert [decision["reason"] for decision in record["decisions"]] == ["START_DEADLINE_PASSED"]
