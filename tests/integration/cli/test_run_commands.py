from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from signal import SIGINT
from subprocess import PIPE, Popen
from threading import Event

import pytest

from ostinato.errors import NotFound, Unavailable
from ostinato.pb.scheduler.v1.invocations_pb2 import (
    AbortInvocationRequest,
    Invocation,
    ListInvocationsRequest,
    ListInvocationsResponse,
    ListLogsRequest,
    ListLogsResponse,
    LogLine,
    RetryInvocationRequest,
    RetryInvocationResponse,
    WatchInvocationRequest,
    WatchInvocationResponse,
)
from ostinato.pb.scheduler.v1.triggers_pb2 import RetryPayload, Trigger
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


def test_retry_says_what_it_asked_for(ostinato: Ostinato, api: FakeApi) -> None:
    trigger = Trigger(retry=RetryPayload(invocation=f"{JOB}/invocations/7", attempt=3))
    api.answers["RetryInvocation"] = RetryInvocationResponse(trigger=trigger)
    assert ostinato("retry", "shop/nightly/7").lines == [
        "Attempt 3 of shop/nightly/7 starts as soon as the job has room."
    ]
    assert api.requests == [RetryInvocationRequest(name=f"{JOB}/invocations/7")]


def test_a_run_that_goes_on_is_shown_with_its_lineage_and_timers(ostinato: Ostinato, api: FakeApi) -> None:
    run = Invocation(name=f"{JOB}/invocations/7", status=Invocation.RUNNING, attempt=2, retry_of=f"{JOB}/invocations/9")
    run.last_heartbeat_time.FromDatetime(NOON)
    run.timers.add(id="1:0", title="end of the sleep").due_time.FromDatetime(NOON)
    api.answers["GetInvocation"] = run
    shown = [line.split("  ", 1) for line in ostinato("run", "shop/nightly/7").lines]
    assert [(name, value.strip()) for name, value in shown] == [
        ("run", "shop/nightly/7"),
        ("status", "RUNNING"),
        ("last sign of life", "2026-11-21T12:00:00Z"),
        ("timers", "end of the sleep at 2026-11-21T12:00:00Z"),
        ("attempt", "2"),
        ("retry of", "shop/nightly/9"),
    ]


def line(text: str) -> LogLine:
    made = LogLine(text=text)
    made.time.FromDatetime(NOON)
    return made


def told(*texts: str, final: bool = False) -> WatchInvocationResponse:
    invocation = Invocation(name=f"{JOB}/invocations/7", status=Invocation.FAILED, final=True) if final else None
    return WatchInvocationResponse(
        invocation=invocation, lines=map(line, texts), resume_token="after-" + "".join(texts)
    )


def test_a_log_is_printed_with_times_over_all_its_pages(ostinato: Ostinato, api: FakeApi) -> None:
    def page(request: ListLogsRequest) -> ListLogsResponse:
        start = int(request.page_token or 0)
        lines = [line(f"line {number}") for number in range(start, min(start + 3, 7))]
        return ListLogsResponse(lines=lines, next_page_token=str(start + 3) if start + 3 < 7 else "")

    api.answers["ListLogs"] = page
    assert ostinato("logs", "shop/nightly/7").lines == [f"2026-11-21T12:00:00Z  line {number}" for number in range(7)]


def test_following_prints_each_line_until_the_run_has_ended(ostinato: Ostinato, api: FakeApi) -> None:
    api.answers["WatchInvocation"] = [told(), told("a", "b"), told("c", final=True)]
    ran = ostinato("logs", "shop/nightly/7", "--follow")
    assert [text.rpartition("  ")[2] for text in ran.lines] == ["a", "b", "c"]
    assert (ran.exit_code, ran.err) == (0, "")  # the run failed, the command did not


def test_following_goes_on_where_a_restart_of_the_api_interrupted_it(ostinato: Ostinato, api: FakeApi) -> None:
    def watch(request: WatchInvocationRequest) -> list[WatchInvocationResponse | Unavailable]:
        if request.resume_token == "":
            return [told("a"), told("b"), Unavailable("draining")]
        return [told("c", final=True)]

    api.answers["WatchInvocation"] = watch
    ran = ostinato("logs", "shop/nightly/7", "--follow")
    assert [text.rpartition("  ")[2] for text in ran.lines] == ["a", "b", "c"]
    assert [request.resume_token for request in api.requests] == ["", "after-b"]


def test_following_is_left_quietly_with_ctrl_c(api: FakeApi) -> None:
    over = Event()

    def watch(_: WatchInvocationRequest) -> Iterator[WatchInvocationResponse]:
        yield told("a")
        over.wait(20)

    api.answers["WatchInvocation"] = watch
    # A suite that runs in the background of a shell inherits that Ctrl-C is ignored.
    heeding = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    command = [sys.executable, "-c", f"{heeding}; from ostinato.cli.main import main; main()"]
    follow = [*command, "--address", api.address, "logs", "--follow", "shop/nightly/7"]
    with Popen(follow, stdout=PIPE, stderr=PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline().endswith("  a\n")
        process.send_signal(SIGINT)
        out, err = process.communicate(timeout=20)
    over.set()
    assert (process.returncode, out, err) == (130, "", "")


def test_following_as_json_is_one_object_per_line(ostinato: Ostinato, api: FakeApi) -> None:
    api.answers["WatchInvocation"] = [told("a"), told("é", final=True)]
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
    methods = ["GetInvocation", "AbortInvocation", "ListLogs", "WatchInvocation"]
    api.answers = dict.fromkeys(methods, NotFound("no such invocation"))
    assert ostinato(*arguments, "shop/nightly/7") == Ran(1, "", "Error: no such invocation (NOT_FOUND)\n")


def test_a_run_is_late_from_when_its_slot_was_due(ostinato: Ostinato, api: FakeApi) -> None:
    run = Invocation(name="projects/shop/jobs/a/invocations/7")
    run.scheduled_for.FromDatetime(datetime(2026, 3, 1, 12, tzinfo=UTC))
    run.due_time.FromDatetime(datetime(2026, 3, 1, 12, 10, tzinfo=UTC))
    run.start_time.FromDatetime(datetime(2026, 3, 1, 12, 10, 2, tzinfo=UTC))
    api.answers["ListInvocations"] = ListInvocationsResponse(invocations=[run])
    assert "2s" in ostinato("runs", "shop/a").lines[1].split()
