"""`ostinato verify`: a verdict first, then what is wrong; exit code 3 if something is."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from google.protobuf.message import Message

from ostinato.pb.scheduler.v1.jobs_pb2 import VerifyJobRequest, VerifyJobResponse
from tests.integration.cli.conftest import Ran
from tests.integration.client.fake_api import FakeApi

Ostinato = Callable[..., Ran]
AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def part(start: datetime, end: datetime, goes_on: datetime | None = None, **fields: object) -> VerifyJobResponse:
    made = VerifyJobResponse(**fields)
    made.start_time.FromDatetime(start)
    made.end_time.FromDatetime(end)
    if goes_on is not None:
        made.next_start_time.FromDatetime(goes_on)
    return made


def outcome(name: str, slots: int, ranges: int = 0) -> VerifyJobResponse.OutcomeCount:
    return VerifyJobResponse.OutcomeCount(outcome=name, slots=slots, ranges=ranges)


def fault(text: str) -> VerifyJobResponse.Fault:
    return VerifyJobResponse.Fault(kind=VerifyJobResponse.Fault.MISSING, count=1, text=text)


def test_a_clean_ledger_is_one_sentence_and_its_numbers(ostinato: Ostinato, api: FakeApi) -> None:
    api.answers["VerifyJob"] = part(
        AT, AT + HOUR, slots=60, pending=1, outcomes=[outcome("STARTED", 59)], notes=["It was \x1b[31mpaused."]
    )
    ran = ostinato("verify", "shop/j")
    assert ran.exit_code == 0
    assert ran.lines[0] == (
        "Each slot from 2026-03-01T12:00:00Z to 2026-03-01T13:00:00Z has exactly one outcome, in time; 60 looked at."
    )
    assert [line.split() for line in ran.lines[1:]] == [[], ["OUTCOME", "SLOTS", "RANGES"], ["STARTED", "59", "0"]]
    assert ran.err.splitlines() == ["Fired, and waiting for their outcome: 1.", "It was \\x1b[31mpaused."]
    assert api.requests == [VerifyJobRequest(name="projects/shop/jobs/j")]


def test_what_is_wrong_is_told_and_ends_with_three(ostinato: Ostinato, api: FakeApi) -> None:
    api.answers["VerifyJob"] = part(AT, AT + HOUR, slots=60, missing=7, late=1, faults=[fault("Nothing is there.")])
    ran = ostinato("verify", "shop/j", "--from", "2026-03-01T12:00:00Z", "--to", "2026-03-01T13:00:00Z")
    assert ran.exit_code == 3
    window = "from 2026-03-01T12:00:00Z to 2026-03-01T13:00:00Z"
    assert ran.lines == [
        f"Something is wrong with its slots {window}: 7 missing, 1 late; 60 looked at.",
        "  - MISSING: Nothing is there.",
        "  - and 7 more",
    ]
    (request,) = api.requests
    assert request.start_time.ToDatetime(tzinfo=UTC) == AT
    assert request.end_time.ToDatetime(tzinfo=UTC) == AT + HOUR


def test_it_goes_on_until_all_was_looked_at(ostinato: Ostinato, api: FakeApi) -> None:
    def answer(request: Message) -> VerifyJobResponse:
        assert isinstance(request, VerifyJobRequest)
        if not request.HasField("start_time"):
            outcomes = [outcome("STARTED", 5), outcome("EXPIRED", 1)]
            return part(AT, AT + HOUR / 2, AT + HOUR / 2, slots=6, missing=1, outcomes=outcomes, faults=[fault("One.")])
        assert request.start_time.ToDatetime(tzinfo=UTC) == AT + HOUR / 2
        outcomes = [outcome("STARTED", 4), outcome("SKIPPED_CATCHUP", 0, 1)]
        return part(AT + HOUR / 2, AT + HOUR, slots=4, missing=1, outcomes=outcomes, faults=[fault("Two.")])

    api.answers["VerifyJob"] = answer
    ran = ostinato("--output", "json", "verify", "shop/j", "--late-after", "1h30m")
    assert ran.exit_code == 3
    assert ran.json["missing"] == "2"
    assert (ran.json["slots"], ran.json["startTime"], ran.json["endTime"]) == (
        "10",
        "2026-03-01T12:00:00Z",
        "2026-03-01T13:00:00Z",
    )
    assert {each["outcome"]: each.get("slots", "0") for each in ran.json["outcomes"]} == {
        "STARTED": "9",
        "EXPIRED": "1",
        "SKIPPED_CATCHUP": "0",
    }
    assert [each["text"] for each in ran.json["faults"]] == ["One.", "Two."]
    assert "nextStartTime" not in ran.json
    assert [request.late_after.seconds for request in api.requests] == [5400, 5400]


def test_a_window_without_slots_says_so(ostinato: Ostinato, api: FakeApi) -> None:
    api.answers["VerifyJob"] = part(AT, AT + HOUR, notes=["It was paused."])
    ran = ostinato("verify", "shop/j")
    assert ran == Ran(0, "It had no slots from 2026-03-01T12:00:00Z to 2026-03-01T13:00:00Z.\n", "It was paused.\n")


def test_a_duration_that_is_none_is_wrong_usage(ostinato: Ostinato) -> None:
    ran = ostinato("verify", "shop/j", "--late-after", "soon")
    assert ran.exit_code == 2
    assert "'soon': expected a number with a unit" in ran.err
