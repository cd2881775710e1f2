"""VerifyJob: a ledger that the services wrote is clean; each hole and double that somebody plants in it is named."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ostinato.clock import SystemClock
from ostinato.pb.scheduler.v1.jobs_pb2 import PauseJobRequest, ResumeJobRequest, VerifyJobRequest, VerifyJobResponse
from ostinato_engine.cron_loop import CronLoop
from tests.integration.api.served_api import Client, refused
from tests.integration.engine.stage import Stage

TICK, LAZY = "projects/shop/jobs/tick", "projects/shop/jobs/lazy"
CONFIG = """
project: shop
jobs:
  - {id: tick, schedule: every 1h, noop: {}}
  - {id: second, schedule: every 1s, noop: {}}
  - {id: lazy, schedule: with 1h interval, noop: {}}
"""
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
SECOND = timedelta(seconds=1)
Fault = VerifyJobResponse.Fault


async def verify(
    api: Client, start: datetime | None = None, end: datetime | None = None, name: str = TICK, **fields: Any
) -> VerifyJobResponse:
    request = VerifyJobRequest(name=name, **fields)
    if start is not None:
        request.start_time.FromDatetime(start)
    if end is not None:
        request.end_time.FromDatetime(end)
    answer: VerifyJobResponse = await api.send("VerifyJob", request)
    return answer


def faults(answer: VerifyJobResponse) -> list[tuple[str, datetime]]:
    return [(Fault.Kind.Name(each.kind), each.slot.ToDatetime(tzinfo=UTC)) for each in answer.faults]


def outcomes(answer: VerifyJobResponse) -> dict[str, tuple[int, int]]:
    return {each.outcome: (each.slots, each.ranges) for each in answer.outcomes}


async def id_of(stage: Stage, name: str) -> int:
    found: int = await stage.db.fetchval("select job_id from job where name = $1", name)
    return found


async def set_clock(stage: Stage, at: datetime) -> None:
    """The database's clock stands still there."""
    await stage.db.execute(
        f"create or replace function ostinato_now() returns timestamptz language sql volatile as "
        f"$$ select timestamptz '{at.isoformat()}' $$"
    )


@pytest.fixture
async def hour(api: Client, stage: Stage) -> datetime:
    """It is twenty past. The jobs were created ten hours before it, and no engine has looked since."""
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    await set_clock(stage, hour + 20 * MINUTE)
    await api.apply(CONFIG)
    await stage.db.execute("update job_schedule_span set from_at = $1", hour - 10 * HOUR)
    await plan(stage, "tick", hour - 9 * HOUR)
    await plan(stage, "second", hour - 10 * HOUR + SECOND)
    return hour


async def plan(stage: Stage, name: str, slot: datetime) -> None:
    """The next slot that needs an outcome."""
    await stage.db.execute(
        "update job_cron set slot = $1, due_at = $1 where job_name = 'projects/shop/jobs/' || $2", slot, name
    )


async def tick(stage: Stage) -> None:
    """An engine looks and finds all that is overdue."""
    await CronLoop(stage.db, stage.dispatcher, clock=SystemClock(), metrics=stage.metrics).fire_due()
    await stage.triage_until_quiet()


async def record(stage: Stage, *slots: datetime) -> None:
    """Rows of `tick`; its schedule goes on after the last of them."""
    await stage.db.execute(
        "insert into occurrence (job_id, slot, outcome, decided_at) "
        "select $1, s, 3, s from unnest($2::timestamptz[]) s",
        await id_of(stage, "tick"),
        list(slots),
    )
    await plan(stage, "tick", max(slots) + HOUR)


async def test_what_the_services_wrote_is_clean_through_downtime_pauses_and_edits(
    api: Client, stage: Stage, hour: datetime
) -> None:
    await tick(stage)  # ten hours late: the first slot fires, the others are skipped as one range
    await set_clock(stage, hour + 21 * MINUTE)
    await api.send("PauseJob", PauseJobRequest(name=TICK))
    await set_clock(stage, hour + 22 * MINUTE)
    await api.send("ResumeJob", ResumeJobRequest(name=TICK))
    await set_clock(stage, hour + 23 * MINUTE)
    await api.apply(CONFIG.replace("every 1h", "every 30m"))
    answer = await verify(api, name=TICK, late_after={"seconds": 86_400})
    assert faults(answer) == []
    assert (answer.missing, answer.duplicated, answer.late, answer.unexpected) == (0, 0, 0, 0)
    assert outcomes(answer) == {"STARTED": (1, 0), "SKIPPED_CATCHUP": (0, 1)}
    assert answer.slots == 2
    assert not answer.HasField("next_start_time")
    assert [text.partition(",")[0] for text in answer.notes] == ["The job did not exist yet", "It was paused"]
    assert answer.end_time.ToDatetime() - answer.start_time.ToDatetime() == 24 * HOUR


async def test_a_million_skipped_slots_are_two_slots_to_look_at(api: Client, stage: Stage, hour: datetime) -> None:
    await tick(stage)
    answer = await verify(api, hour - 24 * HOUR, hour, "projects/shop/jobs/second", late_after={"seconds": 86_400})
    assert faults(answer) == []
    assert answer.slots == 2


@pytest.mark.leaves_damage("rows of the ledger are planted and taken away")
async def test_planted_holes_and_doubles_are_named(api: Client, stage: Stage, hour: datetime) -> None:
    await record(stage, *(hour - hours * HOUR for hours in range(10)))
    assert (await verify(api, hour - 9 * HOUR, hour)).slots == 10
    assert faults(await verify(api, hour - 9 * HOUR, hour)) == []
    job_id = await id_of(stage, "tick")
    await stage.db.execute(
        "delete from occurrence where job_id = $1 and slot = any($2)", job_id, [hour - 7 * HOUR, hour - 2 * HOUR, hour]
    )
    await stage.db.execute(
        "insert into occurrence (job_id, slot, fold_tag, until_slot, outcome, decided_at) values "
        "($1, $2, 2, null, 3, $2), ($1, $3, 2, $4, 7, $3), ($1, $5, 0, null, 3, $5)",
        job_id,
        hour - 5 * HOUR,
        hour - 3 * HOUR,
        hour - 3 * HOUR + SECOND,
        hour - 4 * HOUR + SECOND,
    )
    answer = await verify(api, hour - 9 * HOUR, hour)
    assert faults(answer) == [
        ("MISSING", hour - 7 * HOUR),
        ("DUPLICATED", hour - 5 * HOUR),
        ("UNEXPECTED", hour - 4 * HOUR + SECOND),
        ("DUPLICATED", hour - 3 * HOUR),
        ("MISSING", hour - 2 * HOUR),
        ("MISSING", hour),
    ]
    assert (answer.missing, answer.duplicated, answer.late, answer.unexpected) == (3, 2, 0, 1)
    assert faults(await verify(api, hour - 6 * HOUR, hour - 5 * HOUR)) == [("DUPLICATED", hour - 5 * HOUR)]
    assert "EXPIRED" in answer.faults[1].text
    assert answer.faults[2].text.endswith("is no slot of the schedule that was in force, `every 1h`.")


async def test_missing_slots_in_a_row_are_told_as_one(api: Client, stage: Stage, hour: datetime) -> None:
    await record(stage, hour - 9 * HOUR, hour)
    answer = await verify(api, hour - 9 * HOUR, hour)
    (hole,) = answer.faults
    assert (answer.missing, hole.count) == (8, 8)
    assert hole.last_slot.ToDatetime(tzinfo=UTC) == hour - HOUR
    assert hole.text.startswith("Nothing is recorded of 8 slots, from ")


@pytest.mark.leaves_damage("rows inside of a range")
async def test_a_range_that_began_before_the_window_covers_it(api: Client, stage: Stage, hour: datetime) -> None:
    job_id = await id_of(stage, "tick")
    await record(stage, hour - 9 * HOUR, hour - 6 * HOUR, hour)
    await stage.db.execute(
        "insert into occurrence (job_id, slot, until_slot, outcome, decided_at) values ($1, $2, $3, 7, $3)",
        job_id,
        hour - 8 * HOUR,
        hour,
    )
    assert faults(await verify(api, hour - 5 * HOUR, hour)) == []
    assert faults(await verify(api, hour - 9 * HOUR, hour)) == [("DUPLICATED", hour - 6 * HOUR)]


async def test_a_late_start_and_a_slot_that_nobody_fires(api: Client, stage: Stage, hour: datetime) -> None:
    await stage.emit_slot(await id_of(stage, "tick"), 900, hour - 2 * HOUR)
    await stage.triage_until_quiet()
    await plan(stage, "tick", hour - HOUR)
    answer = await verify(api, hour - 2 * HOUR)
    assert faults(answer) == [("LATE", hour - 2 * HOUR), ("LATE", hour - HOUR)]
    (run,) = await stage.active(await id_of(stage, "tick"))
    assert f"started its run shop/tick/{run['invocation_id']} 140 min after it was due" in answer.faults[0].text
    assert "has not fired yet, 80 min after it was due" in answer.faults[1].text
    assert answer.notes[0].endswith("on no slot has fired yet.")
    patient = await verify(api, hour - 2 * HOUR, late_after={"seconds": 10_800})
    assert faults(patient) == []


async def test_a_pending_trigger_is_no_hole(api: Client, stage: Stage, hour: datetime) -> None:
    await stage.emit_slot(await id_of(stage, "tick"), 900, hour)
    await record(stage, hour - HOUR)
    await plan(stage, "tick", hour + HOUR)
    answer = await verify(api, hour - HOUR, hour)
    assert (faults(answer), answer.pending) == ([], 1)


async def test_a_call_looks_at_ten_thousand_slots_and_says_where_to_go_on(
    api: Client, stage: Stage, hour: datetime
) -> None:
    second = "projects/shop/jobs/second"
    await stage.db.execute(
        "insert into occurrence (job_id, slot, outcome, decided_at) "
        "select $1, s, 3, s from generate_series($2::timestamptz, $3::timestamptz, '1 s') s",
        await id_of(stage, "second"),
        hour - 5 * HOUR + SECOND,
        hour,
    )
    await stage.db.execute("delete from occurrence where slot = $1", hour - HOUR)
    await plan(stage, "second", hour + SECOND)
    start: datetime | None = hour - 5 * HOUR + SECOND
    looked_at, found = [], []
    while start is not None:
        answer = await verify(api, start, hour, second)
        looked_at.append(answer.slots)
        found += faults(answer)
        start = answer.next_start_time.ToDatetime(tzinfo=UTC) if answer.HasField("next_start_time") else None
    assert looked_at == [10_000, 8_000]
    assert found == [("MISSING", hour - HOUR)]


async def test_what_has_no_slots_says_so(api: Client, stage: Stage, hour: datetime) -> None:
    answer = await verify(api, hour - HOUR, hour, LAZY)
    assert (answer.slots, len(answer.notes)) == (0, 1)
    assert answer.notes[0].startswith("`with 1h interval` has no slots, so there is nothing to verify")


async def test_a_schedule_that_nobody_reads_is_not_judged(api: Client, stage: Stage, hour: datetime) -> None:
    await stage.db.execute("update job_schedule_span set schedule = 'whenever it rains'")
    await record(stage, hour - HOUR)
    answer = await verify(api, hour - 5 * HOUR, hour)
    assert faults(answer) == []
    assert answer.notes[0].startswith("The schedule `whenever it rains` can't be read here")


async def test_bad_windows_name_their_fields(api: Client, stage: Stage, hour: datetime) -> None:
    refusal = await refused(verify(api, hour, hour - SECOND, "shop/tick", late_after={"seconds": -1}))
    assert refusal.code == "INVALID_ARGUMENT"
    assert set(refusal.fields) == {"name", "end_time", "late_after"}
    assert (await refused(verify(api, hour + 10 * HOUR))).fields == ["start_time"]
    too_long = {"seconds": 367 * 86_400}
    assert (await refused(verify(api, late_after=too_long))).fields == ["late_after"]


async def test_the_widest_window_there_is_ends_now(api: Client, stage: Stage, hour: datetime) -> None:
    answer = await verify(api, datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC))
    assert answer.end_time.ToDatetime(tzinfo=UTC) == hour + 20 * MINUTE
    await verify(api, end=datetime(1, 1, 1, tzinfo=UTC))


async def test_who_may_not_see_the_job_learns_nothing(api: Client, hour: datetime) -> None:
    assert (await refused(verify(api, name="projects/shop/jobs/other"))).code == "NOT_FOUND"
