"""Slots that nobody fired in time, from the due loop and from a resume to their runs and the ledger."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ostinato.clock import SystemClock
from ostinato.jobflow import poke_cron as poke_cron_module
from ostinato.jobstore.job_definition_codec import encode_definition
from ostinato.pb.internal.v1.stored_pb2 import TriggerList
from ostinato.scheduling.job_definition import JobDefinition, TriggeringPolicy
from ostinato.scheduling.occurrence import OccurrenceOutcome
from ostinato.scheduling.schedule import CatchUp, CatchUpPolicy, ScheduleTerms
from ostinato.scheduling.trigger import MAX_WAITING
from ostinato_engine import cron_loop
from ostinato_engine.cron_loop import CronLoop
from tests.integration.engine.stage import Stage
from tests.integration.engine.standing_clock import at_time, triage_today

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
START = datetime(2026, 5, 1, tzinfo=UTC)
LATEST = ScheduleTerms(catch_up=CatchUp(CatchUpPolicy.LATEST))
ALL = ScheduleTerms(catch_up=CatchUp(CatchUpPolicy.ALL))


def hours(first: int, last: int) -> list[datetime]:
    return [START + number * HOUR for number in range(first, last + 1)]


async def add_job(stage: Stage, terms: ScheduleTerms, name: str = "j", **definition: Any) -> int:
    """Hourly, its first slot an hour after START."""
    await at_time(stage, START)
    return await stage.add_job(name, schedule="every 1h", terms=terms, **definition)


async def back_after(stage: Stage, away: timedelta) -> None:
    """No engine fired anything until then."""
    await at_time(stage, START + away)
    await CronLoop(stage.db, stage.dispatcher, clock=SystemClock(), metrics=stage.metrics).fire_due()


async def ledger(stage: Stage, job_id: int) -> list[tuple[datetime, datetime | None, str]]:
    rows = await stage.ledger(job_id)
    return [(row["slot"], row["until_slot"], OccurrenceOutcome(row["outcome"]).name) for row in rows]


async def waiting(stage: Stage, job_id: int) -> list[datetime]:
    rows = await stage.db.fetch(
        "select slot from trigger where job_id = $1 and consumed_at is null and not_before is not null order by 1",
        job_id,
    )
    return [row["slot"] for row in rows]


async def change(
    stage: Stage, job_id: int, terms: ScheduleTerms, *, paused: bool = False, enabled: bool = True
) -> None:
    """As a pause, a resume or an applied config does it."""
    async with stage.db.transaction() as tx:
        await tx.execute("update job set paused = $2, enabled = $3 where job_id = $1", job_id, paused, enabled)
        wish = await stage._wish(job_id, "j", "every 1h", terms, paused=paused, enabled=enabled)
        await stage.poke(tx, [wish])


@pytest.mark.parametrize("paused", [True, False])
async def test_an_edit_by_a_clock_that_stepped_back_happens_after_the_slot_that_fired(
    stage: Stage, *, paused: bool
) -> None:
    """As of a database that took over with a clock that is behind: the slot fired again, or had no schedule."""
    job_id = await add_job(stage, ScheduleTerms())
    await back_after(stage, HOUR)
    await at_time(stage, START + HOUR - MINUTE)
    await change(stage, job_id, ScheduleTerms(jitter=MINUTE), paused=paused)
    row = await stage.db.fetchrow("select slot from job_cron where job_id = $1", job_id)
    assert row is not None
    assert row["slot"] == (None if paused else START + 2 * HOUR)
    await change(stage, job_id, ScheduleTerms(), paused=not paused)
    spans = await stage.db.fetch("select from_at, paused from job_schedule_span where job_id = $1 order by 1", job_id)
    assert [(span["from_at"], span["paused"]) for span in spans] == [(START, False), (START + HOUR, not paused)]


async def test_latest_starts_the_newest_and_skips_the_others_as_one_range(stage: Stage) -> None:
    job_id = await add_job(stage, LATEST)
    await back_after(stage, 5 * HOUR + MINUTE)
    await triage_today(stage)
    assert await ledger(stage, job_id) == [
        (START + HOUR, START + 5 * HOUR, "SKIPPED_CATCHUP"),
        (START + 5 * HOUR, None, "STARTED"),
    ]
    (run,) = await stage.active(job_id)
    assert run["scheduled_for"] == START + 5 * HOUR


async def test_all_gives_each_slot_a_run_of_its_own_oldest_first_and_no_deadline_or_cap_drops_one(stage: Stage) -> None:
    job_id = await add_job(
        stage,
        ScheduleTerms(catch_up=CatchUp(CatchUpPolicy.ALL, limit=4)),
        policy=TriggeringPolicy(max_batch_size=1000),
        start_deadline=MINUTE,
    )
    await back_after(stage, 6 * HOUR + MINUTE)
    await stage.emit_ids(job_id, "somebody")
    for slot in [None, *hours(3, 6)]:  # what policies see goes first
        await triage_today(stage)
        (run,) = await stage.active(job_id)
        assert run["scheduled_for"] == slot
        (trigger,) = TriggerList.FromString(run["incoming"]).triggers
        if slot is not None:
            assert trigger.cron.slot.ToDatetime(tzinfo=UTC) == trigger.not_before.ToDatetime(tzinfo=UTC) == slot
        await stage.finish(run["invocation_id"])
    await triage_today(stage)
    assert await ledger(stage, job_id) == [
        (START + HOUR, START + 3 * HOUR, "SKIPPED_CATCHUP"),
        *((slot, None, "STARTED") for slot in hours(3, 6)),
    ]


async def test_a_pause_keeps_them_and_a_disabled_job_drops_them_with_their_outcome(stage: Stage) -> None:
    job_id = await add_job(stage, ALL)
    await back_after(stage, 3 * HOUR)
    await change(stage, job_id, ALL, paused=True)
    await triage_today(stage)
    assert await waiting(stage, job_id) == hours(1, 3)
    await at_time(stage, START + 3 * HOUR + MINUTE)
    await change(stage, job_id, ALL, enabled=False)
    await stage.kick(job_id)
    await triage_today(stage)
    assert await ledger(stage, job_id) == [(slot, None, "DISABLED") for slot in hours(1, 3)]
    assert await waiting(stage, job_id) == []


async def test_those_for_which_no_more_may_wait_are_skipped_the_oldest_first(stage: Stage) -> None:
    job_id = await add_job(stage, ALL)
    await stage.db.execute(
        """
        insert into trigger (job_id, trigger_id, kind, created_at, order_in_batch, body, not_before)
        select $1, 'retry:' || n, 'RETRY', $3, 0, '', $3 from generate_series(1, $2) n
        """,
        job_id,
        MAX_WAITING - 2,
        START,
    )
    await back_after(stage, 5 * HOUR)
    assert await ledger(stage, job_id) == [(slot, None, "SKIPPED_CATCHUP") for slot in hours(1, 3)]
    assert [slot for slot in await waiting(stage, job_id) if slot is not None] == hours(4, 5)


async def test_a_batch_stops_at_so_many_triggers_and_leaves_the_other_rows_due(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [await add_job(stage, ALL, name) for name in ("a", "b", "c")]
    monkeypatch.setattr(cron_loop, "_MOST_TRIGGERS", 5)
    await at_time(stage, START + 4 * HOUR)
    loop = CronLoop(stage.db, stage.dispatcher, clock=SystemClock(), metrics=stage.metrics)
    assert [await loop.fire_due() for _ in range(3)] == [2, 1, 0]
    assert [await waiting(stage, job_id) for job_id in jobs] == [hours(1, 4)] * 3
    assert stage.metrics.ticks._value.get() == 12


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        (ScheduleTerms(), []),
        (LATEST, [(START + HOUR, START + 4 * HOUR, "SKIPPED_CATCHUP"), (START + 4 * HOUR, None, "STARTED")]),
        (ALL, [(START + number * HOUR, None, "STARTED") for number in range(1, 5)]),
    ],
    ids=["SKIP", "LATEST", "ALL"],
)
async def test_a_resume_makes_up_for_the_time_of_the_pause_as_the_job_says(
    stage: Stage, terms: ScheduleTerms, expected: list[tuple[Any, ...]]
) -> None:
    job_id = await add_job(stage, terms, policy=TriggeringPolicy(max_concurrent_invocations=10))
    await at_time(stage, START + MINUTE)
    await change(stage, job_id, terms, paused=True)
    await back_after(stage, 4 * HOUR)
    assert await stage.pending(job_id) == []
    await at_time(stage, START + 4 * HOUR + MINUTE)
    await change(stage, job_id, terms)
    await triage_today(stage)
    assert await ledger(stage, job_id) == expected
    row = await stage.db.fetchrow("select slot, due_at from job_cron where job_id = $1", job_id)
    assert row is not None
    assert (row["slot"], row["due_at"]) == (START + 5 * HOUR, START + 5 * HOUR)


async def test_a_slot_at_the_instant_of_a_resume_is_due_whatever_the_job_says(stage: Stage) -> None:
    job_id = await add_job(stage, ScheduleTerms())
    await at_time(stage, START + MINUTE)
    await change(stage, job_id, ScheduleTerms(), paused=True)
    await at_time(stage, START + 4 * HOUR)
    await change(stage, job_id, ScheduleTerms())
    await back_after(stage, 4 * HOUR)
    await triage_today(stage)
    assert await ledger(stage, job_id) == [(START + 4 * HOUR, None, "STARTED")]


async def test_a_slot_that_waits_for_its_offset_starts_at_its_time_although_an_edit_has_replaced_its_schedule(
    stage: Stage,
) -> None:
    noon = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0)
    first, second = noon + HOUR, noon + 2 * HOUR
    offset = 105 * MINUTE
    terms = ScheduleTerms(offset=offset)
    await at_time(stage, noon)
    job_id = await stage.add_job("j", schedule="every 1h", terms=terms)
    await at_time(stage, second + MINUTE)
    edited = replace(terms, end_before=second)
    definition = encode_definition(JobDefinition("j", schedule="every 1h", terms=edited))
    await stage.db.execute("update job set definition = $2 where job_id = $1", job_id, definition)
    await change(stage, job_id, edited)
    await stage.triage_until_quiet()
    assert (await stage.active(job_id), await waiting(stage, job_id)) == ([], [first, second])
    await at_time(stage, first + offset)
    await stage.kick(job_id)
    await stage.triage_until_quiet()
    (run,) = await stage.active(job_id)
    assert (run["scheduled_for"], await waiting(stage, job_id)) == (first, [second])
    assert await ledger(stage, job_id) == [(first, None, "STARTED")]


@pytest.mark.leaves_damage("the definitions are not edited, only the schedules")
async def test_an_edit_of_many_jobs_lets_their_waiting_slots_go_in_portions(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poke_cron_module, "_MOST_TRIGGERS", 3)
    terms = ScheduleTerms(offset=9 * HOUR)
    job_ids = [await add_job(stage, terms, name) for name in ("a", "b", "c", "d", "e")]
    await at_time(stage, START + 2 * HOUR + MINUTE)
    async with stage.db.transaction() as tx:
        wishes = [
            await stage._wish(job_id, name, "every 5h", terms) for job_id, name in zip(job_ids, "abcde", strict=True)
        ]
        await stage.poke(tx, wishes)
    for job_id in job_ids:
        assert await waiting(stage, job_id) == hours(1, 2)
        row = await stage.db.fetchrow("select schedule, slot from job_cron where job_id = $1", job_id)
        assert row is not None
        assert (row["schedule"], row["slot"] > START + 2 * HOUR) == ("every 5h", True)
        spans = "select count(*) from job_schedule_span where job_id = $1"
        assert await stage.db.fetchval(spans, job_id) == 2
