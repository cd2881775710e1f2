"""Backoff between attempts, with Cloud Tasks' meaning of RetryConfig. Pure."""

from __future__ import annotations

from datetime import timedelta

from ostinato.taskqueue.task_class import Retry


def backoff(retry: Retry, failures: int, jitter: float) -> timedelta:
    """Delay before the attempt after `failures` (≥ 1) failures.

    Doubles from min_backoff for max_doublings steps, then grows by the last doubled step, never above max_backoff.
    `jitter` in [0, 1) adds up to a tenth, within max_backoff, so that what failed together does not return together.
    """
    doublings = min(failures - 1, retry.max_doublings)
    delay = _capped(retry.min_backoff * 2**doublings, retry.max_backoff) if doublings < 64 else retry.max_backoff
    if extra_steps := failures - 1 - doublings:
        delay = _capped(delay * (1 + min(extra_steps, 1_000_000)), retry.max_backoff)
    return _capped(delay * (1 + jitter / 10), retry.max_backoff)


def _capped(delay: timedelta, most: timedelta) -> timedelta:
    return min(delay, most)
