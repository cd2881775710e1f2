"""Decides whether a launch attempt is made, and what a failure on our side leads to.

Launching is at least once: the attempt is counted and committed before the outside call, so a crash in between
uses an attempt up and the next one calls again with the same idempotency key. What the target answered, even an
error, is the run's result and not a failed launch.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TypeAlias

from ostinato.scheduling.invocation import InvocationStatus, is_initial

MAX_LAUNCH_ATTEMPTS = 50
# The pause after a failed attempt doubles from one to the other.
MIN_LAUNCH_BACKOFF = timedelta(seconds=5)
MAX_LAUNCH_BACKOFF = timedelta(minutes=5)

LAUNCH_ATTEMPTS_EXHAUSTED = "LAUNCH_ATTEMPTS_EXHAUSTED"
LAUNCH_FAILED = "LAUNCH_FAILED"
RUN_TIMEOUT = "RUN_TIMEOUT"


@dataclass(frozen=True, slots=True)
class SkipLaunch:
    """It runs already, or has ended."""


@dataclass(frozen=True, slots=True)
class GiveUpLaunch:
    """End the invocation without a call."""

    status: InvocationStatus
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class StartLaunch:
    """Count the attempt, commit, call. `started_at` is of the first attempt: the run's timeout counts from it."""

    attempt: int
    started_at: datetime
    run_until: datetime


LaunchDecision: TypeAlias = SkipLaunch | GiveUpLaunch | StartLaunch


def decide_launch(
    status: InvocationStatus, launch_attempts: int, started_at: datetime | None, timeout: timedelta, now: datetime
) -> LaunchDecision:
    """`launch_attempts` is the number made so far."""
    if not is_initial(status):
        return SkipLaunch()
    first_start = now if started_at is None else started_at
    run_until = first_start + timeout
    if run_until <= now:
        return GiveUpLaunch(
            InvocationStatus.TIMED_OUT, RUN_TIMEOUT, "the run's timeout passed before a launch succeeded"
        )
    if launch_attempts >= MAX_LAUNCH_ATTEMPTS:
        return _exhausted()
    return StartLaunch(launch_attempts + 1, first_start, run_until)


class LaunchFailure(StrEnum):
    """How an attempt failed on our side. TRANSIENT may pass; FATAL will not."""

    TRANSIENT = "TRANSIENT"
    FATAL = "FATAL"


@dataclass(frozen=True, slots=True)
class RetryLaunch:
    """Move to RETRYING and try again."""


LaunchOutcome: TypeAlias = RetryLaunch | GiveUpLaunch


def decide_launch_outcome(failure: LaunchFailure, attempt: int, message: str) -> LaunchOutcome:
    """What a failure of attempt `attempt` (1-based) leads to. The last attempt's is final whatever its kind."""
    if failure is LaunchFailure.FATAL:
        return GiveUpLaunch(InvocationStatus.FAILED, LAUNCH_FAILED, message)
    if attempt >= MAX_LAUNCH_ATTEMPTS:
        return _exhausted(message)
    return RetryLaunch()


def _exhausted(last_error: str = "") -> GiveUpLaunch:
    message = f"{MAX_LAUNCH_ATTEMPTS} launch attempts failed"
    return GiveUpLaunch(
        InvocationStatus.FAILED,
        LAUNCH_ATTEMPTS_EXHAUSTED,
        f"{message}; the last: {last_error}" if last_error else message,
    )
