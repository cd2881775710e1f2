"""PreviewSchedule: slots of an expression or a job."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from ostinato.pb.scheduler.v1.jobs_pb2 import PauseJobRequest, PreviewScheduleRequest
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


@pytest.mark.parametrize("start", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"])
@pytest.mark.parametrize("schedule", ["* * * * *", "every 1w", "with 1s interval", "0 0 29 2 * 2000"])
async def test_the_ends_of_time_are_no_surprise(api: Client, start: str, schedule: str) -> None:
    await preview(api, start, schedule=schedule, limit=3)
