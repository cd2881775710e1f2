"""`every`, `with … interval`, `continuously` and `triggered`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ostinato.scheduling.schedule import parse_schedule

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "after", "expected"),
    [
        ("every 1w", "2016-01-01T01:10:23", "2016-01-04T00:00:00"),  # a Monday
        ("every 1h", "2026-03-01T14:30:00", "2026-03-01T15:00:00"),
        ("every 1h", "2026-03-01T15:00:00", "2026-03-01T16:00:00"),
        ("every 1m", "2026-03-01T14:30:05", "2026-03-01T14:31:00"),
        ("every 15m", "2026-03-01T14:59:59.999999", "2026-03-01T15:00:00"),
        ("every 1s", "2026-03-01T14:59:59.999999", "2026-03-01T15:00:00"),
        ("every 1d", "2026-02-28T00:00:00", "2026-03-01T00:00:00"),
        ("every 90m", "2026-03-01T00:00:00", "2026-03-01T01:30:00"),
        ("every 1h30m", "2026-03-01T00:00:00", "2026-03-01T01:30:00"),
        ("every 1.5h", "2026-03-01T00:00:00", "2026-03-01T01:30:00"),
        ("every 366d", "0001-01-01T00:00:00", "0002-01-02T00:00:00"),
        ("every 1w1d", "0001-01-01T00:00:00", "0001-01-09T00:00:00"),
    ],
)
def test_every_is_aligned_and_strictly_after(text: str, after: str, expected: str) -> None:
    assert parse_schedule(text).next_after(at(after)) == at(expected)


def test_every_ignores_when_the_job_was_rewound() -> None:
    schedule = parse_schedule("every 1h")
    assert schedule.next_after(NOW, last_rewind_at=NOW - timedelta(minutes=7)) == NOW + timedelta(hours=1)


def test_nothing_lies_beyond_the_year_9999() -> None:
    latest = datetime.max.replace(tzinfo=UTC)
    assert parse_schedule("every 1d").next_after(latest) is None
    assert parse_schedule("with 1h interval").next_after(latest) is None


def test_an_interval_counts_from_the_last_rewind() -> None:
    schedule = parse_schedule("with 10m interval")
    rewound = NOW - timedelta(minutes=4)
    assert schedule.next_after(NOW, last_rewind_at=rewound) == NOW + timedelta(minutes=6)


def test_an_interval_that_is_over_is_due_now() -> None:
    assert parse_schedule("with 10m interval").next_after(NOW, last_rewind_at=NOW - timedelta(hours=9)) == NOW


def test_an_interval_without_a_rewind_counts_from_the_instant_given() -> None:
    assert parse_schedule("with 10m interval").next_after(NOW) == NOW + timedelta(minutes=10)


@pytest.mark.parametrize("text", ["continuously", "with 0s interval", "with 0 interval", "with 500ms interval"])
def test_starts_of_a_relative_schedule_are_at_least_a_second_apart(text: str) -> None:
    schedule = parse_schedule(text)
    assert schedule.next_after(NOW, last_rewind_at=NOW) == NOW + timedelta(seconds=1)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("with 1h30m interval", 5400),
        ("with 1.5h interval", 5400),
        ("with  1m1m\tinterval", 120),
        ("with +90s interval", 90),
        ("with 1500ms interval", 1.5),
        ("with 2000001us interval", 2.000001),
        ("with 2000001µs interval", 2.000001),
        ("with 2000001μs interval", 2.000001),
        ("with 2000001999ns interval", 2.000001),  # cut to microseconds
        ("with .5h interval", 1800),
        ("with 1.h interval", 3600),
    ],
)
def test_intervals_are_go_durations(text: str, seconds: float) -> None:
    assert parse_schedule(text).next_after(NOW) == NOW + timedelta(seconds=seconds)


def test_triggered_never_fires_by_time() -> None:
    assert parse_schedule("triggered").next_after(NOW) is None


@pytest.mark.parametrize(
    ("text", "is_absolute"),
    [
        ("triggered", True),
        ("0 3 * * *", True),
        ("every 1h", True),
        ("with 1h interval", False),
        ("continuously", False),
    ],
)
def test_what_is_absolute(text: str, is_absolute: bool) -> None:
    assert parse_schedule(text).is_absolute is is_absolute
