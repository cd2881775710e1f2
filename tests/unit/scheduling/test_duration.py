"""Durations as text."""

from __future__ import annotations

from datetime import timedelta

import pytest

from ostinato.scheduling.duration import DurationError, parse_duration


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3600s", timedelta(hours=1)),
        ("1h30m", timedelta(minutes=90)),
        ("1h30m10.5s", timedelta(minutes=90, seconds=10.5)),
        ("0", timedelta(0)),
        ("-0", timedelta(0)),
        ("-1h30m", timedelta(minutes=-90)),
        ("0.000001s", timedelta(microseconds=1)),
        ("0.0000019s", timedelta(microseconds=1)),
        ("-1999ns", timedelta(microseconds=-1)),
        ("0.1s0.2s", timedelta(milliseconds=300)),
        ("2562047h47m16.854775807s", timedelta(microseconds=((1 << 63) - 1) // 1000)),
    ],
)
def test_reads(text: str, expected: timedelta) -> None:
    assert parse_duration(text) == expected


@pytest.mark.parametrize(
    ("text", "position"),
    [("", 0), ("-", 1), ("s", 0), ("1", 0), ("1h ", 2), ("1h-1m", 2), ("..5s", 0), (".s", 0), ("1d", 1), ("1H", 0)],
)
def test_refuses(text: str, position: int) -> None:
    with pytest.raises(DurationError) as caught:
        parse_duration(text)
    assert caught.value.position == position


def test_refuses_what_a_go_duration_cannot_hold() -> None:
    with pytest.raises(DurationError, match="292 years"):
        parse_duration("2562047h47m16.854775808s")
