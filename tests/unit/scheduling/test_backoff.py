"""Waiting between attempts."""

from __future__ import annotations

from datetime import timedelta

from ostinato.scheduling.backoff import doubling_backoff


def wait(attempt: int, jitter: float = 0.0) -> float:
    bounds = {"minimum": timedelta(seconds=5), "maximum": timedelta(seconds=300)}
    return doubling_backoff(attempt, **bounds, jitter=jitter).total_seconds()


def test_doubles_up_to_the_maximum() -> None:
    assert [wait(attempt) for attempt in (1, 2, 3, 4, 5, 6, 7, 8, 50, 10**9)] == [5, 10, 20, 40, 80, 160, *[300] * 4]


def test_jitter_takes_away_up_to_half_but_keeps_the_minimum() -> None:
    assert [wait(7, jitter) for jitter in (0, 0.5, 1)] == [300, 225, 150]
    assert wait(1, jitter=1) == 5
