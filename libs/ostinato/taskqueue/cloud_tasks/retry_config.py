"""Backoffs as Cloud Tasks is told of them, of a queue or of a single task. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from google.cloud import tasks_v2

from ostinato.taskqueue.task_class import Retry

UNLIMITED = -1
_MOST_DOUBLINGS = 16
_LEAST_BACKOFF = timedelta(milliseconds=100)


def retry_config_of(retries: Sequence[Retry]) -> tasks_v2.RetryConfig:
    """From the shortest backoff up to the longest. Attempts are without limit: the receiver counts them."""
    shortest = max(_LEAST_BACKOFF, min(retry.min_backoff for retry in retries))
    return tasks_v2.RetryConfig(
        max_attempts=UNLIMITED,
        min_backoff=shortest,
        max_backoff=max(shortest, *(retry.max_backoff for retry in retries)),
        max_doublings=min(_MOST_DOUBLINGS, max(retry.max_doublings for retry in retries)),
    )
