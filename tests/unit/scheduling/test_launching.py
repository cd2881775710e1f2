"""When a launch is tried, and what failures on our side lead to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ostinato.scheduling.invocation import InvocationStatus
from ostinato.scheduling.launching import (
    LAUNCH_ATTEMPTS_EXHAUSTED,
    LAUNCH_FAILED,
    MAX_LAUNCH_ATTEMPTS,
    RUN_TIMEOUT,
    GiveUpLaunch,
    LaunchFailure,
    RetryLaunch,
    SkipLaunch,
    StartLaunch,
    decide_launch,
    decide_launch_outcome,
)

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


def test_the_first_attempt_starts_the_run() -> None:
    assert decide_launch(InvocationStatus.STARTING, 0, None, HOUR, NOW) == StartLaunch(1, NOW, NOW + HOUR)


def test_a_later_attempt_keeps_the_start() -> None:
    started = NOW - timedelta(minutes=10)
    decision = decide_launch(InvocationStatus.RETRYING, 3, started, HOUR, NOW)
    assert decision == StartLaunch(4, started, started + HOUR)


def test_a_crash_between_counting_and_calling_leads_to_another_attempt() -> None:
    decision = decide_launch(InvocationStatus.STARTING, 1, NOW, HOUR, NOW)
    assert decision == StartLaunch(2, NOW, NOW + HOUR)


@pytest.mark.parametrize("status", [s for s in InvocationStatus if s > InvocationStatus.RETRYING])
def test_what_runs_or_has_ended_is_not_launched(status: InvocationStatus) -> None:
    assert decide_launch(status, 1, NOW, HOUR, NOW) == SkipLaunch()


def test_the_fiftieth_attempt_is_the_last() -> None:
    assert isinstance(decide_launch(InvocationStatus.RETRYING, 49, NOW, HOUR, NOW), StartLaunch)
    decision = decide_launch(InvocationStatus.RETRYING, 50, NOW, HOUR, NOW)
    assert isinstance(decision, GiveUpLaunch)
    assert (decision.status, decision.reason) == (InvocationStatus.FAILED, LAUNCH_ATTEMPTS_EXHAUSTED)


def test_no_attempt_is_made_after_the_timeout() -> None:
    decision = decide_launch(InvocationStatus.RETRYING, 3, NOW - HOUR, HOUR, NOW)
    assert isinstance(decision, GiveUpLaunch)
    assert (decision.status, decision.reason) == (InvocationStatus.TIMED_OUT, RUN_TIMEOUT)


def test_a_passing_failure_is_tried_again() -> None:
    assert decide_launch_outcome(LaunchFailure.TRANSIENT, 49, "no route") == RetryLaunch()


def test_a_passing_failure_of_the_last_attempt_is_final() -> None:
    outcome = decide_launch_outcome(LaunchFailure.TRANSIENT, MAX_LAUNCH_ATTEMPTS, "no route")
    assert outcome == GiveUpLaunch(
        InvocationStatus.FAILED, LAUNCH_ATTEMPTS_EXHAUSTED, "50 launch attempts failed; the last: no route"
    )


def test_a_fatal_failure_is_final_at_once() -> None:
    outcome = decide_launch_outcome(LaunchFailure.FATAL, 1, "unknown target")
    assert outcome == GiveUpLaunch(InvocationStatus.FAILED, LAUNCH_FAILED, "unknown target")
