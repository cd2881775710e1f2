from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from ostinato.errors import NotFound
from ostinato.pb.scheduler.v1.invocations_pb2 import (
    AbortInvocationRequest,
    Invocation,
    ListInvocationsRequest,
    ListInvocationsResponse,
    ListLogsRequest,
    ListLogsResponse,
    LogLine,
)
from ostinato.pb.scheduler.v1.triggers_pb2 import Trigger
from tests.integration.cli.conftest import Ran
from tests.integration.client.fake_api import FakeApi

Ostinato = Callable[..., Ran]

JOB = "projects/shop/jobs/nightly"
ID = 9_063_279_517_011_443_680
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def failed_run() -> Invocation:
    cron, upstream = Trigger(id="cron:v1:7"), Trigger(id=f"upstream:{JOB}/invocations/8")
    cron.cron.generation = 7
    upstream.upstream.status = "SUCCEEDED"
    run = Invocation(
        name=f"{JOB}/invocations/{ID}",
        status=Invocation.FAILED,
        final=True,
        launch_attempts=1,
        triggered_by="user:ana@shop.example",
        incoming_triggers=[cron, upstream],
        error=Invocation.Error(reason="HTTP_STATUS", message="the answer was 500"),
    )
    run.scheduled_for.FromDatetime(NOON)
    run.create_time.FromDatetime(NOON)
    run.start_time.FromDatetime(NOON + timedelta(milliseconds=20))
    run.finish_time.FromDatetime(NOON + timedelta(seconds=63))
    run.result.update({"rows": 3, "share": 0.5, "big": 1e300, "note": "é"})
    return run


def test_runs_are_a_table_of_a_hundred_columns(ostinato: Ostinato, api: FakeApi) -> None:
    waiting = Invocation(name=f"{JOB}/invocations/{ID - 1}", status=Invocation.STARTING)
    api.answers["ListInvocations"] = ListInvocationsResponse(invocations=[waiting, failed_run()])
    ran = ostinato("runs", "shop/nightly")
    assert ran.lines[1].split() == [str(ID - 1), "STARTING"]
    assert ran.lines[2].split() == [
        *(str(ID), "FAILED", "2026-11-21T12:00:00Z", "20ms", "1m", "02s"),
        *("cron+upstream", "×2", "HTTP_STATUS"),
    ]
    assert max(map(len, ran.lines)) <= 100


def test_no_more_runs_are_listed_than_asked_for(ostinato: Ostinato, api: FakeApi) -> None:
    api.answers["ListInvocations"] = ListInvocationsResponse(
        invocations=[Invocation(name=f"{JOB}/invocations/{number}") for number in range(1, 4)], next_page_token="more"
    )
    listed = ostinato("runs", "shop/nightly", "--limit", "2", "--output", "json").json
    assert [run["name"].rpartition("/")[2] for run in listed["invocations"]] == ["1", "2"]
    assert api.requests == [ListInvocationsRequest(parent=JOB, page_size=2)]


def test_one_run_is_shown_with_what_it_has(ostinato: Ostinato, api: FakeApi) -> None:
    api.answers["GetInvocation"] = failed_run()
    shown = [line.split("  ", 1) for line in ostinato("run", f"shop/nightly/{ID}").lines]
    assert [(name, value.strip()) for name, value in shown] == [
        ("run", f"shop/nightly/{ID}"),
        ("status", "FAILED"),
        ("error", "HTTP_STATUS: the answer was 500"),
        ("scheduled for", "2026-11-21T12:00:00Z"),
        ("created", "2026-11-21T12:00:00Z"),
        ("started", "2026-11-21T12:00:00Z"),
        ("finished", "2026-11-21T12:01:03Z"),
        ("took", "1m 02s"),
        ("launch attempts", "1"),
        ("triggered by", "user:ana@shop.example"),
        ("triggers", f"cron:v1:7, upstream:{JOB}/invocations/8"),
        ("result", '{"big": 1e+300, "note": "é", "rows": 3, "share": 0.5}'),
    ]


def test_cancel_ends_a_run_with_its_reason(ostinato: Ostinato, api: FakeApi) -> None:
    api.answers["AbortInvocation"] = Invocation(name=f"{JOB}/invocations/7", status=Invocation.ABORTED, final=True)
    assert ostinato("cancel", "shop/nightly/7", "--reason", "wrong day").out == "shop/nightly/7 is ABORTED.\n"
    assert api.requests == [AbortInvocationRequest(name=f"{JOB}/invocations/7", reason="wrong day")]


def test_cancelling_a_run_that_has_ended_says_how_it_ended(ostinato: Ostinato, api: FakeApi) -> None:
    api.answers["AbortInvocation"] = Invocation(name=f"{JOB}/invocations/7", status=Invocation.SUCCEEDED, final=True)
    ran = ostinato("cancel", "shop/nightly/7")
    assert (ran.exit_code, ran.out) == (0, "shop/nightly/7 had ended: SUCCEEDED.\n")


class GrowingLog:
    """Grows by `steps`, one step per look at the run; the run has ended after the last one."""

    def __init__(self, steps: list[list[str]], page_size: int) -> None:
        self._steps = steps
        self._page_size = page_size
        self._lines: list[str] = []

    def look(self, _: object) -> Invocation:
        self._lines += self._steps.pop(0)
        return Invocation(name=f"{JOB}/invocations/7", final=not self._steps)

    def page(self, request: ListLogsRequest) -> ListLogsResponse:
        start = int(request.page_token or 0)
        end = start + self._page_size
        lines = [LogLine(text=text) for text in self._lines[start:end]]
        for line in lines:
            line.time.FromDatetime(NOON)
        return ListLogsResponse(lines=lines, next_page_token=str(end) if end < len(self._lines) else "")


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ostinato.cli.log_reading.POLL_INTERVAL", 0.0)


def follow(api: FakeApi, steps: list[list[str]], page_size: int = 3) -> None:
    log = GrowingLog(steps, page_size)
    api.answers |= {"GetInvocation": log.look, "ListLogs": log.page}


def test_a_log_is_printed_with_times_over_all_its_pages(ostinato: Ostinato, api: FakeApi) -> None:
    log = GrowingLog([[f"line {number}" for number in range(7)]], page_size=3)
    log.look(None)
    api.answers["ListLogs"] = log.page
    assert ostinato("logs", "shop/nightly/7").lines == [f"2026-11-21T12:00:00Z  line {number}" for number in range(7)]


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param([["a", "b"], ["c"], ["d", "e", "f", "g"]], id="pages fill up"),
        pytest.param([["a", "b", "c"], [], ["d"]], id="a page is exactly full"),
        pytest.param([[], [], ["a"]], id="nothing at first"),
        pytest.param([["a", "b", "c", "d", "e", "f", "g"]], id="it had ended before"),
    ],
)
def test_following_prints_each_line_once_until_the_run_has_ended(
    ostinato: Ostinato, api: FakeApi, steps: list[list[str]]
) -> None:
    expected = [text for step in steps for text in step]
    follow(api, steps)
    assert [line.rpartition("  ")[2] for line in ostinato("logs", "shop/nightly/7", "--follow").lines] == expected


def test_following_as_json_is_one_object_per_line(ostinato: Ostinato, api: FakeApi) -> None:
    follow(api, [["a"], ["é"]])
    ran = ostinato("--output", "json", "logs", "-f", "shop/nightly/7")
    assert ran.lines == [f'{{"time": "2026-11-21T12:00:00Z", "text": "{text}"}}' for text in ("a", "é")]


def test_a_log_as_json_is_one_object(ostinato: Ostinato, api: FakeApi) -> None:
    api.answers["ListLogs"] = ListLogsResponse()
    assert ostinato("--output", "json", "logs", "shop/nightly/7").json == {"lines": [], "nextPageToken": ""}


def test_a_log_can_not_steer_the_terminal(ostinato: Ostinato, api: FakeApi) -> None:
    api.answers["ListLogs"] = ListLogsResponse(lines=[LogLine(text="\x1b]0;title\x07 done")])
    assert ostinato("logs", "shop/nightly/7").out.endswith("  \\x1b]0;title\\x07 done\n")


@pytest.mark.parametrize("arguments", [("run",), ("cancel",), ("logs",), ("logs", "--follow")])
def test_a_run_that_is_not_there_is_told_and_exits_with_1(
    ostinato: Ostinato, api: FakeApi, arguments: tuple[str, ...]
) -> None:
    api.answers = dict.fromkeys(["GetInvocation", "AbortInvocation", "ListLogs"], NotFound("no such invocation"))
    assert ostinato(*arguments, "shop/nightly/7") == Ran(1, "", "Error: no such invocation (NOT_FOUND)\n")
