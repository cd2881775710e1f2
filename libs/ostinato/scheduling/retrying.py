"""Decides whether a run that ended is tried again by itself, and when. Pure.

Only what the work itself led to counts: a launch that failed on our side is repeated within its attempt, and an
abort is somebody's will.
"""

from __future__ import annotations

import hashlib
from datetime import timedelta

from ostinato.scheduling.backoff import doubling_backoff
from ostinato.scheduling.invocation import InvocationStatus
from ostinato.scheduling.invocation_id import InvocationId
from ostinato.scheduling.job_definition import RetryPolicy

_LAST_COUNTED_ATTEMPT = 32_767


def decide_retry(
    status: InvocationStatus, attempt: int, policy: RetryPolicy, *, error_retryable: bool, jitter: float
) -> timedelta | None:
    """How long after the end of attempt `attempt` (1-based) the next one may start; None: it stays as it is.

    The backoff lies within the policy's, doubles with every attempt and is shortened by up to a half: `jitter` in
    [0, 1] says by how much.
    """
    fails = status is InvocationStatus.TIMED_OUT or (status is InvocationStatus.FAILED and error_retryable)
    if not fails or attempt >= policy.max_attempts:
        return None
    return doubling_backoff(attempt, minimum=policy.min_backoff, maximum=policy.max_backoff, jitter=jitter)


def retry_jitter(invocation_id: InvocationId) -> float:
    """The run's own draw in [0, 1]: spread over runs, and the same wherever it is asked for."""
    digest = hashlib.sha256(f"retry of {invocation_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / (2**64 - 1)


def next_attempt(attempt: int) -> int:
    """People may retry for ever; counting stops at what is stored in two bytes."""
    return min(attempt + 1, _LAST_COUNTED_ATTEMPT)
