"""The run timeout, looked at lazily."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ostinato.scheduling.deadline import LookAgainAt, TimedOut, decide_deadline
from ostinato.scheduling.invocation import InvocationStatus, is_final

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
CREATED = NOW - 9 * HOUR
UNFINISHED = [status for status in InvocationStatus if not is_final(status)]


@pytest.mark.parametrize("status", UNFINISHED)
def test_a_run_ends_when_its_timeout_has_passed(status: InvocationStatus) -> None:
    assert decide_deadline(status, NOW - HOUR, CREATED, HOUR, NOW) == TimedOut(NOW)
    assert decide_deadline(status, NOW - 2 * HOUR, CREATED, HOUR, NOW) == TimedOut(NOW - HOUR)


@pytest.mark.parametrize("status", UNFINISHED)
def test_before_that_it_is_looked_at_when_it_passes(status: InvocationStatus) -> None:
    started = NOW - HOUR + timedelta(microseconds=1)
    assert decide_deadline(status, started, CREATED, HOUR, NOW) == LookAgainAt(started + HOUR)


def test_waiting_for_the_launch_does_not_use_up_the_timeout() -> None:
    assert decide_deadline(InvocationStatus.STARTING, None, CREATED, HOUR, NOW) == LookAgainAt(NOW + HOUR)


@pytest.mark.parametrize("status", [status for status in InvocationStatus if is_final(status)])
def test_what_has_ended_is_left_to_triage(status: InvocationStatus) -> None:
    assert decide_deadline(status, CREATED, CREATED, HOUR, NOW) == LookAgainAt(NOW + HOUR)
