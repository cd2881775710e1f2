"""A retry policy as text: how it travels with a single task, in a row or in the header of a request. Pure."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TypeAlias

from ostinato.taskqueue.task_class import Retry

RetryFields: TypeAlias = dict[str, float]
_DURATIONS = ("min_backoff", "max_backoff", "max_transient_backoff")


def retry_fields(retry: Retry) -> RetryFields:
    """Durations in seconds; what is not set is absent."""
    fields: RetryFields = {"max_attempts": retry.max_attempts, "max_doublings": retry.max_doublings}
    for name in _DURATIONS:
        if (duration := getattr(retry, name)) is not None:
            fields[name] = duration.total_seconds()
    return fields


def retry_of_fields(fields: RetryFields) -> Retry:
    """Unknown fields are passed over: a newer process may have written them."""
    durations = {name: timedelta(seconds=fields[name]) for name in _DURATIONS if name in fields}
    return Retry(int(fields["max_attempts"]), max_doublings=int(fields["max_doublings"]), **durations)


def encode_retry(retry: Retry) -> str:
    return json.dumps(retry_fields(retry), separators=(",", ":"))


def parse_retry(text: str) -> Retry | None:
    """None for what is no policy."""
    try:
        return retry_of_fields(json.loads(text))
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None
