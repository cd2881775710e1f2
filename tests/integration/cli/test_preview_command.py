from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from ostinato.errors import InvalidArgument
from ostinato.pb.scheduler.v1.jobs_pb2 import Job, PreviewScheduleRequest, PreviewScheduleResponse
from tests.integration.cli.conftest import Ran
from tests.integration.client.fake_api import FakeApi

Ostinato = Callable[..., Ran]


def slots(*hours: int) -> PreviewScheduleResponse:
    answer = PreviewScheduleResponse()
    for hour in hours:
        answer.slots.add().FromDatetime(datetime(2015, 9, 15, hour, tzinfo=UTC))
    return answer


def test_slots_of_an_expression_are_one_per_line(ostinato: Ostinato, api: FakeApi) -> None:
    api.answers["PreviewSchedule"] = slots(1, 4, 7, 10)
    ran = ostinato("preview", "--schedule", "0 1/3 * * *", "--from", "2015-09-14T22:42:00Z", "--count", "4")
    assert ran == Ran(0, "2015-09-15T01:00:00Z\n2015-09-15T04:00:00Z\n2015-09-15T07:00:00Z\n2015-09-15T10:00:00Z\n", "")
    expected = PreviewScheduleRequest(schedule="0 1/3 * * *", limit=4)
    expected.start_time.FromDatetime(datetime(2015, 9, 14, 22, 42, tzinfo=UTC))
    assert api.requests == [expected]


def test_slots_of_a_job_come_from_now_on(ostinato: Ostinato, api: FakeApi) -> None:
    api.answers["PreviewSchedule"] = slots(1)
    assert ostinato("preview", "shop/nightly", "--output", "json").json == {
        "slots": ["2015-09-15T01:00:00Z"],
        "notes": [],
    }
    assert api.requests == [PreviewScheduleRequest(job="projects/shop/jobs/nightly", limit=10)]


def test_a_schedule_without_slots_says_so(ostinato: Ostinato, api: FakeApi) -> None:
    api.answers["PreviewSchedule"] = slots()
    assert ostinato("preview", "--schedule", "triggered") == Ran(0, "", "No slot comes.\n")


def test_a_refused_schedule_names_the_field_and_exits_with_1(ostinato: Ostinato, api: FakeApi) -> None:
    api.answers["PreviewSchedule"] = InvalidArgument.of("schedule", "`blah` is no schedule")
    assert ostinato("preview", "--schedule", "blah") == Ran(1, "", "Error: schedule: `blah` is no schedule\n")


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("shop/nightly", "--schedule", "0 3 * * *"),
        ("shop/nightly", "--count", "0"),
        ("shop/nightly", "--count", "501"),
        ("shop/nightly", "--from", "yesterday"),
    ],
)
def test_anything_but_one_job_or_one_expression_is_wrong_usage(
    ostinato: Ostinato, api: FakeApi, arguments: tuple[str, ...]
) -> None:
    assert ostinato("preview", *arguments).exit_code == 2
    assert api.requests == []


def test_an_empty_expression_is_the_apis_to_judge(ostinato: Ostinato, api: FakeApi) -> None:
    api.answers["PreviewSchedule"] = InvalidArgument.of("schedule", "must not be empty")
    assert ostinato("preview", "--schedule", "").exit_code == 1
    assert api.requests[0].WhichOneof("source") == "schedule"


def test_a_zone_and_its_policies_are_asked_for_and_notes_go_to_stderr(ostinato: Ostinato, api: FakeApi) -> None:
    answer = slots(1)
    shifted = answer.notes.add(kind=PreviewScheduleResponse.Note.GAP_SHIFTED, text="moved")
    shifted.time.FromDatetime(datetime(2015, 9, 15, 1, tzinfo=UTC))
    blackout = answer.notes.add(kind=PreviewScheduleResponse.Note.BLACKOUT, text="no slot")
    blackout.time.FromDatetime(datetime(2015, 9, 15, 2, tzinfo=UTC))
    blackout.until_time.FromDatetime(datetime(2015, 9, 16, tzinfo=UTC))
    api.answers["PreviewSchedule"] = answer
    zoned = ("--zone", "Europe/Rome", "--gap", "SKIP", "--fold", "BOTH")
    assert ostinato("preview", "--schedule", "0 3 * * *", *zoned) == Ran(
        0,
        "2015-09-15T01:00:00Z\n",
        "2015-09-15T01:00:00Z: moved\n2015-09-15T02:00:00Z to 2015-09-16T00:00:00Z: no slot\n",
    )
    (request,) = api.requests
    assert (request.time_zone, request.gap_policy, request.fold_policy) == ("Europe/Rome", Job.SKIP, Job.BOTH)
    assert ostinato("preview", "shop/nightly", "--zone", "Europe/Rome").exit_code == 2
