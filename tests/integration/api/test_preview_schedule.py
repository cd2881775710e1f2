"""PreviewSchedule: slots of an expression or a job."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from ostinato.pb.scheduler.v1.jobs_pb2 import (
    GetJobRequest,
    Job,
    PauseJobRequest,
    PreviewScheduleRequest,
    PreviewScheduleResponse,
)
from tests.integration.api.served_api import Client, refused


async def preview(api: Client, start: str = "", end: str = "", **fields: Any) -> list[str]:
    request = PreviewScheduleRequest(**fields)
    if start:
        request.start_time.FromDatetime(datetime.fromisoformat(start))
    if end:
        request.end_time.FromDatetime(datetime.fromisoformat(end))
    answer = await api.send("PreviewSchedule", request)
    return [slot.ToJsonString() for slot in answer.slots]


async def test_slots_lie_strictly_after_the_start(api: Client) -> None:
    assert await preview(api, "2015-09-14T22:42:00Z", schedule="0 1/3 * * *", limit=4) == [
        "2015-09-15T01:00:00Z",
        "2015-09-15T04:00:00Z",
        "2015-09-15T07:00:00Z",
        "2015-09-15T10:00:00Z",
    ]
    assert (await preview(api, "2015-09-15T01:00:00Z", schedule="0 1/3 * * *", limit=1)) == ["2015-09-15T04:00:00Z"]


async def test_the_end_is_included(api: Client) -> None:
    ends = ("2026-01-01T02:00:00Z", "2026-01-01T01:59:59Z", "2026-01-01T00:00:00Z")
    counts = [len(await preview(api, "2026-01-01T00:00:00Z", end, schedule="every 1h")) for end in ends]
    assert counts == [2, 1, 0]


@pytest.mark.parametrize(("limit", "count"), [(0, 100), (1, 1), (500, 500), (501, 500)])
async def test_the_limit_is_that_of_pages(api: Client, limit: int, count: int) -> None:
    assert len(await preview(api, schedule="* * * * *", limit=limit)) == count


async def test_it_begins_now_unless_told_otherwise(api: Client) -> None:
    (slot,) = await preview(api, schedule="every 1m", limit=1)
    assert 0 < (datetime.fromisoformat(slot) - datetime.now(UTC)).total_seconds() + 1 <= 61


@pytest.mark.parametrize(
    ("schedule", "slots"),
    [
        ("triggered", []),
        ("with 10m interval", ["2026-01-01T00:10:00Z"]),
        ("continuously", ["2026-01-01T00:00:01Z"]),
        ("0 0 30 2 *", []),
        ("0 0 1 1 * 2025", []),
    ],
)
async def test_schedules_without_a_row_of_slots(api: Client, schedule: str, slots: list[str]) -> None:
    assert await preview(api, "2026-01-01T00:00:00Z", schedule=schedule) == slots


async def test_of_a_job_it_is_the_job_s_own_schedule_even_while_it_is_paused(api: Client) -> None:
    await api.apply("project: shop\njobs: [{id: a, schedule: '0 3 * * *', noop: {}}]")
    name = "projects/shop/jobs/a"
    expected = ["2026-01-01T03:00:00Z"]
    assert await preview(api, "2026-01-01T00:00:00Z", job=name, limit=1) == expected
    await api.send("PauseJob", PauseJobRequest(name=name))
    assert await preview(api, "2026-01-01T00:00:00Z", job=name, limit=1) == expected
    refusal = await refused(preview(api, job=name + "x"))
    assert (refusal.code, refusal.resource) == ("NOT_FOUND", name + "x")


@pytest.mark.parametrize("schedule", ["* * * *", "with -1s interval", "blah", "", "every 1s " * 1000, "\0", "@reboot"])
async def test_a_bad_expression_is_named(api: Client, schedule: str) -> None:
    refusal = await refused(preview(api, schedule=schedule))
    assert (refusal.code, refusal.fields) == ("INVALID_ARGUMENT", ["schedule"])


async def test_all_mistakes_are_told_at_once(api: Client) -> None:
    refusal = await refused(preview(api, "2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z", schedule="blah", limit=-1))
    assert refusal.fields == ["limit", "end_time", "schedule"]
    assert (await refused(preview(api))).fields == ["schedule"]


@pytest.mark.parametrize("start", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "9999-12-31T23:59:59.999999Z"])
@pytest.mark.parametrize("schedule", ["* * * * *", "every 1w", "with 1s interval", "0 0 29 2 * 2000"])
async def test_the_ends_of_time_are_no_surprise(api: Client, start: str, schedule: str) -> None:
    await preview(api, start, schedule=schedule, limit=3)


async def test_an_expression_is_previewed_in_a_zone_with_its_policies(api: Client) -> None:
    fields: dict[str, Any] = {"schedule": "30 2 * * *", "time_zone": "America/New_York", "limit": 2}
    start = "2026-03-07T12:00:00Z"
    assert await preview(api, start, **fields) == ["2026-03-08T07:00:00Z", "2026-03-09T06:30:00Z"]
    skipping = await preview(api, start, gap_policy=Job.SKIP, **fields)
    assert skipping == ["2026-03-09T06:30:00Z", "2026-03-10T06:30:00Z"]
    fields["schedule"] = "30 1 * * *"
    start = "2026-10-31T12:00:00Z"
    for policy, hours in ((Job.FIRST, [5]), (Job.LAST, [6]), (Job.BOTH, [5, 6])):
        slots = await preview(api, start, fold_policy=policy, **fields)
        assert [int(slot[11:13]) for slot in slots if slot.startswith("2026-11-01")] == hours


async def test_a_job_s_preview_tells_of_the_clock_and_of_blackouts(api: Client) -> None:
    await api.apply(
        """
project: shop
calendars: [{id: freeze, time_zone: America/New_York, days: ['2026-03-10']}]
jobs:
  - {id: a, schedule: 30 2 * * *, time_zone: America/New_York, blackout_calendars: [freeze], noop: {}}
"""
    )
    request = PreviewScheduleRequest(job="projects/shop/jobs/a", limit=3)
    request.start_time.FromDatetime(datetime(2026, 3, 7, 12, tzinfo=UTC))
    answer = await api.send("PreviewSchedule", request)
    assert [slot.ToJsonString() for slot in answer.slots] == [
        "2026-03-08T07:00:00Z",
        "2026-03-09T06:30:00Z",
        "2026-03-11T06:30:00Z",
    ]
    kinds = PreviewScheduleResponse.Note
    assert [(note.kind, note.time.ToJsonString()) for note in answer.notes] == [
        (kinds.GAP_SHIFTED, "2026-03-08T07:00:00Z"),
        (kinds.BLACKOUT, "2026-03-10T06:30:00Z"),
    ]
    assert answer.notes[1].until_time.ToJsonString() == "2026-03-11T04:00:00Z"


@pytest.mark.parametrize(
    ("fields", "broken"),
    [
        ({"schedule": "0 3 * * *", "time_zone": "Mars/Olympus"}, ["time_zone"]),
        ({"schedule": "0 3 * * *", "gap_policy": 9}, ["gap_policy"]),
        ({"schedule": "0 3 * * *", "fold_policy": -1}, ["fold_policy"]),
        ({"schedule": "blah", "time_zone": "\0"}, ["time_zone", "schedule"]),
        ({"schedule": "H 3 * * *"}, ["schedule"]),
        ({"job": "projects/shop/jobs/a", "time_zone": "UTC", "fold_policy": 1}, ["time_zone", "fold_policy"]),
    ],
)
async def test_mistakes_in_the_zone_and_its_policies(api: Client, fields: dict[str, Any], broken: list[str]) -> None:
    refusal = await refused(preview(api, **fields))
    assert (refusal.code, refusal.fields) == ("INVALID_ARGUMENT", broken)


async def test_a_job_shows_the_terms_of_its_schedule(api: Client) -> None:
    await api.apply(
        """
project: shop
jobs:
  - {id: plain, schedule: every 1h, noop: {}}
  - id: full
    schedule: H 3 * * *
    time_zone: Europe/Rome
    gap_policy: SKIP
    fold_policy: BOTH
    offset: 5m
    jitter: 1500ms
    start_after: 2026-01-01T00:00:00Z
    end_before: 2099-01-01T00:00:00Z
    blackouts: [{start_time: 2026-02-01T00:00:00Z, end_time: 2026-02-02T00:00:00Z}]
    noop: {}
"""
    )
    plain = await api.send("GetJob", GetJobRequest(name="projects/shop/jobs/plain"))
    assert (plain.time_zone, plain.gap_policy, plain.fold_policy) == ("UTC", Job.SHIFT, Job.FIRST)
    assert not any(plain.HasField(field) for field in ("offset", "jitter", "start_after", "end_before"))
    full = await api.send("GetJob", GetJobRequest(name="projects/shop/jobs/full"))
    assert (full.time_zone, full.gap_policy, full.fold_policy) == ("Europe/Rome", Job.SKIP, Job.BOTH)
    assert (full.offset.seconds, full.jitter.nanos, len(full.blackouts)) == (300, 500_000_000, 1)
    assert (full.start_after.ToJsonString(), full.end_before.ToJsonString()) == (
        "2026-01-01T00:00:00Z",
        "2099-01-01T00:00:00Z",
    )
    again = await api.apply(
        "project: shop\njobs: [{id: full, schedule: H 3 * * *, time_zone: Europe/Rome, noop: {}}]", revision="2"
    )
    assert list(again.changed) == ["full"]


async def test_a_job_whose_last_slots_lie_in_a_blackout_does_not_run_next(api: Client) -> None:
    await api.apply(
        """
project: shop
jobs:
  - id: over
    schedule: 0 3 * * *
    end_before: 2098-01-01T00:00:00Z
    blackouts: [{start_time: 2026-01-01T00:00:00Z, end_time: 2099-01-01T00:00:00Z}]
    noop: {}
  - id: closed
    schedule: 0 3 * * *
    blackouts: [{start_time: 2026-01-01T00:00:00Z, end_time: 2099-01-01T00:00:00Z}]
    noop: {}
"""
    )
    over = await api.send("GetJob", GetJobRequest(name="projects/shop/jobs/over"))
    assert not over.HasField("next_run_time")
    closed = await api.send("GetJob", GetJobRequest(name="projects/shop/jobs/closed"))
    assert closed.next_run_time.ToJsonString() == "2099-01-01T03:00:00Z"
