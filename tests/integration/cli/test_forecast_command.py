from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from ostinato.pb.scheduler.v1.jobs_pb2 import ForecastStartsRequest, ForecastStartsResponse
from tests.integration.cli.conftest import Ran
from tests.integration.client.fake_api import FakeApi

Ostinato = Callable[..., Ran]


def crowded() -> ForecastStartsResponse:
    answer = ForecastStartsResponse(starts=15, relative_jobs=2)
    for hour, minute, starts in ((9, 0, 12), (9, 5, 1), (10, 5, 2)):
        answer.minutes.add(starts=starts).time.FromDatetime(datetime(2026, 3, 2, hour, minute, tzinfo=UTC))
    hot = answer.hot_minutes.add(starts=12, usual_starts=0.25)
    hot.time.FromDatetime(datetime(2026, 3, 2, 9, tzinfo=UTC))
    hot.jobs.add(job="projects/shop/jobs/a", schedule="0 * * * *", suggested_schedule="H * * * *")
    hot.jobs.add(job="projects/shop/jobs/b", schedule="every 2h")
    return answer


def test_hours_then_hot_minutes_with_what_would_be_better(ostinato: Ostinato, api: FakeApi) -> None:
    api.answers["ForecastStarts"] = crowded()
    ran = ostinato("forecast", "shop", "--from", "2026-03-02T09:00:00Z", "--to", "2026-03-02T11:00:00Z")
    assert ran.exit_code == 0
    assert ran.lines == [
        "HOUR                  STARTS  BUSIEST MINUTE        STARTS IN IT",
        "2026-03-02T09:00:00Z      13  2026-03-02T09:00:00Z            12",
        "2026-03-02T10:00:00Z       2  2026-03-02T10:05:00Z             2",
        "",
        "HOT MINUTE            STARTS  USUAL  JOB     SCHEDULE   BETTER",
        "2026-03-02T09:00:00Z      12    0.2  shop/a  0 * * * *  H * * * *",
        "                                     shop/b  every 2h",
    ]
    assert ran.err == "Not counted: 2 jobs that start so long after their last run.\n"
    expected = ForecastStartsRequest(parent="projects/shop")
    expected.start_time.FromDatetime(datetime(2026, 3, 2, 9, tzinfo=UTC))
    expected.end_time.FromDatetime(datetime(2026, 3, 2, 11, tzinfo=UTC))
    assert api.requests == [expected]


def test_a_project_without_schedules_says_so(ostinato: Ostinato, api: FakeApi) -> None:
    api.answers["ForecastStarts"] = ForecastStartsResponse()
    assert ostinato("forecast", "shop") == Ran(0, "", "No start comes.\n")
    assert api.requests == [ForecastStartsRequest(parent="projects/shop")]


def test_programs_get_every_minute(ostinato: Ostinato, api: FakeApi) -> None:
    api.answers["ForecastStarts"] = crowded()
    assert ostinato("forecast", "shop", "--output", "json").json["minutes"] == [
        {"time": "2026-03-02T09:00:00Z", "starts": 12},
        {"time": "2026-03-02T09:05:00Z", "starts": 1},
        {"time": "2026-03-02T10:05:00Z", "starts": 2},
    ]
