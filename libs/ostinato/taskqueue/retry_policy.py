"""Backoff between attempts, with Cloud Tasks' meaning of RetryConfig. Pure."""

from __future__ import annotations

from datetime import timedelta

from ostinato.taskqueue.task_class import Retry


def backoff(retry: Retry, failures: int, jitter: float, *, transient: bool = False) -> timedelta:
    """Delay before the attempt after `failures` (≥ 1) failures, the last of which passes by itself if `transient`.

    Doubles from min_backoff for max_doublings steps, then grows by the last doubled step, never above max_backoff.
    `jitter` in [0, 1) adds up to a tenth, within max_backoff, so that what failed together does not return together.
    """
    # In seconds as floats: a timedelta would overflow long before the cap is applied.
    most = retry.max_backoff.total_seconds()
    doublings = min(failures - 1, retry.max_doublings)
    doubled = min(most, retry.min_backoff.total_seconds() * 2.0 ** min(doublings, 64))
    grown = min(most, doubled * (failures - doublings))
    delay = min(retry.max_backoff, timedelta(seconds=grown * (1 + jitter / 10)))
    return min(delay, retry.max_transient_backoff) if transient and retry.max_transient_backoff else delay
