from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from ostinato.cli.formatting import format_duration, format_time, printable, short_name, time_of
from ostinato.pb.scheduler.v1.jobs_pb2 import Job


@pytest.mark.parametrize(
    ("length", "text"),
    [
        (timedelta(0), "0ms"),
        (timedelta(microseconds=999), "0ms"),
        (timedelta(milliseconds=40), "40ms"),
        (timedelta(milliseconds=999), "999ms"),
        (timedelta(seconds=1), "1s"),
        (timedelta(seconds=3.27), "3.2s"),
        (timedelta(seconds=9.99), "9.9s"),
        (timedelta(seconds=10), "10s"),
        (timedelta(seconds=59.9), "59s"),
        (timedelta(seconds=60), "1m 00s"),
        (timedelta(minutes=5, seconds=3), "5m 03s"),
        (timedelta(hours=2, minutes=5, seconds=59), "2h 05m"),
        (timedelta(hours=24), "1d 00h"),
        (timedelta(days=400, hours=4), "400d 04h"),
        (timedelta(seconds=-12), "-12s"),
    ],
)
def test_durations_are_told_at_a_glance(length: timedelta, text: str) -> None:
    assert format_duration(length) == text


def test_times_are_utc_to_the_second() -> None:
    assert format_time(datetime(2026, 11, 20, 12, 0, 5, 999_999, tzinfo=UTC)) == "2026-11-20T12:00:05Z"
    assert format_time(datetime(2026, 11, 20, 1, tzinfo=timezone(timedelta(hours=2)))) == "2026-11-19T23:00:00Z"
    assert format_time(datetime(1, 1, 1, tzinfo=UTC)) == "0001-01-01T00:00:00Z"
    assert format_time(None) == ""


def test_a_time_that_a_message_does_not_have_is_empty() -> None:
    job = Job()
    assert time_of(job, "next_run_time") == ""
    job.next_run_time.FromDatetime(datetime(2026, 1, 1, tzinfo=UTC))
    assert time_of(job, "next_run_time") == "2026-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("projects/shop", "shop"),
        ("projects/shop/jobs/nightly report", "shop/nightly report"),
        ("projects/shop/jobs/jobs/invocations/7", "shop/jobs/7"),
    ],
)
def test_names_are_shown_as_one_types_them(name: str, short: str) -> None:
    assert short_name(name) == short


def test_nothing_steers_the_terminal() -> None:
    assert printable("\x1b[31mred\x1b[0m\x07\r\n\x9b2J\tend é") == r"\x1b[31mred\x1b[0m\x07\x0d\x0a\x9b2J" + "\tend é"
