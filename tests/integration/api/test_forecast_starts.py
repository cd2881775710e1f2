"""ForecastStarts: what the schedules of a project bring, as far as the caller may see its jobs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from ostinato.pb.scheduler.v1.jobs_pb2 import ForecastStartsRequest, ForecastStartsResponse, PauseJobRequest
from ostinato.scheduling import forecasting
from tests.integration.api.served_api import ANA, Client, refused

SHOP = "projects/shop"


async def forecast(api: Client, start: str = "", end: str = "", parent: str = SHOP) -> ForecastStartsResponse:
    answer: Any = await api.send("ForecastStarts", request(start, end, parent))
    assert isinstance(answer, ForecastStartsResponse)
    return answer


def request(start: str = "", end: str = "", parent: str = SHOP) -> ForecastStartsRequest:
    message = ForecastStartsRequest(parent=parent)
    if start:
        message.start_time.FromDatetime(datetime.fromisoformat(start))
    if end:
        message.end_time.FromDatetime(datetime.fromisoformat(end))
    return message


def minutes(answer: ForecastStartsResponse) -> dict[str, int]:
    return {minute.time.ToJsonString()[11:16]: minute.starts for minute in answer.minutes}


async def test_jobs_that_meet_in_a_minute_are_named_with_what_spreads_them(api: Client) -> None:
    hourly = "".join(f"- {{id: h{n:02}, schedule: '0 * * * *', noop: {{}}}}\n" for n in range(11))
    await api.apply(
        f"project: shop\njobs:\n{hourly}"
        "- {id: often, schedule: '*/5 * * * *', noop: {}}\n"
        "- {id: aware, schedule: '0 9 * * *', time_zone: Europe/Rome, offset: 90s, noop: {}}\n"
        "- {id: always, schedule: continuously, noop: {}}\n"
        "- {id: called, noop: {}}\n"
    )
    answer = await forecast(api, "2026-03-02T08:00:30Z", "2026-03-02T08:20:30Z")
    assert minutes(answer) == {"08:00": 12, "08:01": 1, "08:05": 1, "08:10": 1, "08:15": 1, "08:20": 1}
    assert (answer.starts, answer.relative_jobs) == (17, 1)
    assert (answer.start_time.ToJsonString(), answer.end_time.ToJsonString()) == (
        "2026-03-02T08:00:00Z",
        "2026-03-02T08:21:00Z",
    )
    (hot,) = answer.hot_minutes
    assert (hot.time.ToJsonString(), hot.starts, hot.usual_starts) == ("2026-03-02T08:00:00Z", 12, 0.25)
    assert [job.job.rpartition("/")[2] for job in hot.jobs] == [f"h{n:02}" for n in range(10)]
    assert (hot.jobs[0].schedule, hot.jobs[0].suggested_schedule) == ("0 * * * *", "H * * * *")


async def test_paused_and_removed_jobs_start_nothing(api: Client) -> None:
    jobs = [f"{{id: {name}, schedule: every 10m, noop: {{}}}}" for name in ("a", "b", "c")]
    await api.apply(f"project: shop\njobs: [{', '.join(jobs)}]")
    await api.send("PauseJob", PauseJobRequest(name="projects/shop/jobs/a"))
    await api.apply(f"project: shop\njobs: [{', '.join(jobs[:2])}]")
    answer = await forecast(api, "2026-03-02T08:00:00Z", "2026-03-02T08:10:00Z")
    assert minutes(answer) == {"08:00": 1}


async def test_jobs_count_that_the_caller_may_see(api: Client) -> None:
    await api.apply(
        f"project: shop\nbindings: [{{role: reader, members: ['{ANA}'], realms: [prod]}}]\n"
        "jobs: [{id: a, schedule: every 10m, noop: {}}, {id: b, schedule: every 10m, realm: prod, noop: {}}]"
    )
    await api.apply("project: other\njobs: [{id: a, schedule: every 10m, noop: {}}]")
    window = ("2026-03-02T08:00:00Z", "2026-03-02T08:10:00Z")
    assert (await forecast(api, *window)).starts == 2
    assert (await forecast(api.as_user(ANA), *window)).starts == 1
    for parent in ("projects/other", "projects/nothing"):
        assert (await refused(api.as_user(ANA).send("ForecastStarts", request(*window, parent)))).code == "NOT_FOUND"


async def test_a_day_from_now_on_unless_told_otherwise(api: Client) -> None:
    await api.apply("project: shop\njobs: [{id: a, schedule: '*/10 * * * *', noop: {}}]")
    answer = await forecast(api)
    assert answer.starts == 144
    begin = answer.start_time.ToDatetime(tzinfo=UTC)
    assert abs((datetime.now(UTC) - begin).total_seconds()) < 120
    assert answer.end_time.seconds - answer.start_time.seconds == 86_400


@pytest.mark.parametrize(
    ("start", "end", "parent", "field"),
    [
        ("2026-03-02T08:00:00Z", "2026-03-02T08:00:00Z", SHOP, "end_time"),
        ("2026-03-02T08:00:00Z", "2026-03-01T08:00:00Z", SHOP, "end_time"),
        ("2026-03-02T08:00:00Z", "2026-03-09T08:00:01Z", SHOP, "end_time"),
        ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59Z", SHOP, "end_time"),
        ("9999-12-31T23:59:59Z", "", SHOP, "end_time"),
        ("", "", "projects/-", "parent"),
        ("", "", "shop", "parent"),
    ],
)
async def test_what_is_refused(api: Client, start: str, end: str, parent: str, field: str) -> None:
    await api.apply("project: shop\njobs: [{id: a, noop: {}}]")
    refusal = await refused(api.send("ForecastStarts", request(start, end, parent)))
    assert (refusal.code, refusal.fields) == ("INVALID_ARGUMENT", [field])


async def test_a_week_is_the_most(api: Client) -> None:
    await api.apply("project: shop\njobs: [{id: a, schedule: every 1h, noop: {}}]")
    assert (await forecast(api, "2026-03-02T08:00:00Z", "2026-03-09T08:00:00Z")).starts == 168


async def test_more_slots_than_are_counted_are_refused_with_what_to_do(
    api: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forecasting, "MAX_SLOTS", 100)
    await api.apply("project: shop\njobs: [{id: a, schedule: every 1s, noop: {}}]")
    refusal = await refused(api.send("ForecastStarts", request("2026-03-02T08:00:00Z", "2026-03-02T08:02:00Z")))
    assert refusal.fields == ["end_time"]
    assert "choose an earlier end" in refusal.rules["end_time"]
    assert (await forecast(api, "2026-03-02T08:00:00Z", "2026-03-02T08:01:00Z")).starts == 60


async def test_jobs_that_start_at_the_same_times_are_counted_once_and_jitter_tells_them_apart(
    api: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forecasting, "MAX_SLOTS", 2)
    window = ("2026-03-02T08:00:00Z", "2026-03-02T09:00:00Z")
    hashed = ", ".join(f"{{id: h{n}, schedule: 'H(0-1) * * * *', noop: {{}}}}" for n in range(10))
    await api.apply(f"project: shop\njobs: [{hashed}]")
    assert (await forecast(api, *window)).starts == 10
    spread = ", ".join(f"{{id: h{n}, schedule: '0 * * * *', jitter: 1m, noop: {{}}}}" for n in range(10))
    await api.apply(f"project: shop\njobs: [{spread}]")
    assert (await refused(api.send("ForecastStarts", request(*window)))).fields == ["end_time"]
