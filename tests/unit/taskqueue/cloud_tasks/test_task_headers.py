"""Headers of a pushed task."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ostinato.taskqueue.cloud_tasks.task_headers import (
    PushHeaders,
    format_eta,
    parse_eta,
    parse_push_headers,
    task_headers,
)
from ostinato.taskqueue.task_class import Retry
from ostinato.taskqueue.task_options import TaskOptions

AT = datetime(2026, 1, 2, 3, 4, 5, 6007, tzinfo=UTC)
SECONDS = 1767323045


def test_a_time_has_seconds_and_six_digits() -> None:
    assert format_eta(AT) == f"{SECONDS}.006007"
    assert parse_eta(format_eta(AT)) == AT


def test_the_part_behind_the_dot_counts_microseconds() -> None:
    assert parse_eta("1.5") == datetime(1970, 1, 1, 0, 0, 1, 5, tzinfo=UTC)


@pytest.mark.parametrize("text", ["", "1", "1.", ".5", "1.5.5", "1,5", "-1.5", "1.-5", "x.5", "999999999999.5", "٣.٣"])
def test_what_is_no_time_counts_as_absent(text: str) -> None:
    assert parse_eta(text) is None


def test_what_we_send_along_comes_back() -> None:
    options = TaskOptions(title="a-title", retry=Retry(max_attempts=3, min_backoff=timedelta(seconds=2)))
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    sent = task_headers(eta=AT, traceparent=trace, options=options)
    found = parse_push_headers(sent)
    assert (found.eta, found.traceparent, found.title, found.retry) == (AT, trace, "a-title", options.retry)


def test_a_plain_task_carries_its_time_only() -> None:
    assert task_headers(eta=AT, traceparent=None, options=TaskOptions()) == {
        "Ostinato-Expected-Eta": f"{SECONDS}.006007"
    }


def test_what_cloud_tasks_says_is_read_in_any_case() -> None:
    found = parse_push_headers(
        {
            "x-cloudtasks-taskname": "t1",
            "X-CLOUDTASKS-QUEUENAME": "mail",
            "X-CloudTasks-TaskRetryCount": "4",
            "X-CloudTasks-TaskRetryReason": "whatever",
            "X-CloudTasks-TaskPreviousResponse": "500",
            "X-CloudTasks-TaskETA": f"{SECONDS}.006007",
        }
    )
    assert found == PushHeaders("t1", "mail", 4, "whatever", "500", AT)


def test_app_engine_goes_first() -> None:
    found = parse_push_headers({"X-CloudTasks-TaskName": "new", "X-AppEngine-TaskName": "old"})
    assert found.task_name == "old"


def test_malformed_headers_count_as_absent() -> None:
    found = parse_push_headers(
        {
            "X-CloudTasks-TaskRetryCount": "-1",
            "X-CloudTasks-TaskETA": "soon",
            "Ostinato-Expected-Eta": "later",
            "Ostinato-Retry": '{"max_attempts":"x"}',
        }
    )
    assert found == PushHeaders()
