"""The run timeout and the heartbeat timeout, looked at lazily."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ostinato.scheduling.deadline import (
    HEARTBEAT_TIMEOUT,
    LATE_LOOK,
    LookAgainAt,
    RunTimeouts,
    RunTimes,
    TimedOut,
    decide_deadline,
)
from ostinato.scheduling.invocation import InvocationStatus, is_final
from ostinato.scheduling.launching import RUN_TIMEOUT

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
CREATED = NOW - 9 * HOUR
RUNNING = InvocationStatus.RUNNING
UNFINISHED = [status for status in InvocationStatus if not is_final(status)]
ONE_HOUR = RunTimeouts(HOUR)
WITH_HEARTBEAT = RunTimeouts(HOUR, MINUTE)


def started(at: datetime | None, last_heartbeat_at: datetime | None = None) -> RunTimes:
    return RunTimes(CREATED, at, last_heartbeat_at)


@pytest.mark.parametrize("status", UNFINISHED)
def test_a_run_ends_when_its_timeout_has_passed(status: InvocationStatus) -> None:
    assert decide_deadline(status, started(NOW - HOUR), ONE_HOUR, NOW) == TimedOut(NOW, RUN_TIMEOUT)
    assert decide_deadline(status, started(NOW - 2 * HOUR), ONE_HOUR, NOW) == TimedOut(NOW - HOUR, RUN_TIMEOUT)


@pytest.mark.parametrize("status", UNFINISHED)
def test_before_that_it_is_looked_at_when_it_passes(status: InvocationStatus) -> None:
    start = NOW - HOUR + timedelta(microseconds=1)
    assert decide_deadline(status, started(start), ONE_HOUR, NOW) == LookAgainAt(start + HOUR)


def test_waiting_for_the_launch_does_not_use_up_the_timeout() -> None:
    assert decide_deadline(InvocationStatus.STARTING, started(None), ONE_HOUR, NOW) == LookAgainAt(NOW + HOUR)
    assert decide_deadline(InvocationStatus.STARTING, started(None), WITH_HEARTBEAT, NOW) == LookAgainAt(NOW + MINUTE)


@pytest.mark.parametrize("status", [status for status in InvocationStatus if is_final(status)])
def test_what_has_ended_is_left_to_triage(status: InvocationStatus) -> None:
    assert decide_deadline(status, started(CREATED), ONE_HOUR, NOW) == LookAgainAt(NOW + HOUR)


def test_a_silent_run_ends_when_its_heartbeat_timeout_has_passed() -> None:
    silent = started(NOW - 5 * MINUTE, NOW - MINUTE)
    assert decide_deadline(RUNNING, silent, WITH_HEARTBEAT, NOW) == TimedOut(NOW, HEARTBEAT_TIMEOUT)


def test_a_sign_of_life_puts_the_look_off() -> None:
    alive = started(NOW - 5 * MINUTE, NOW - 20 * SECOND)
    assert decide_deadline(RUNNING, alive, WITH_HEARTBEAT, NOW) == LookAgainAt(NOW + 40 * SECOND)


def test_signs_of_life_do_not_put_the_run_timeout_off() -> None:
    alive = started(NOW - HOUR + 5 * SECOND, NOW)
    assert decide_deadline(RUNNING, alive, WITH_HEARTBEAT, NOW) == LookAgainAt(NOW + 5 * SECOND)
    assert decide_deadline(RUNNING, started(NOW - HOUR, NOW), WITH_HEARTBEAT, NOW) == TimedOut(NOW, RUN_TIMEOUT)


def test_silence_counts_from_the_start_of_a_run_that_never_gave_a_sign() -> None:
    young = started(NOW - 30 * SECOND)
    assert decide_deadline(RUNNING, young, WITH_HEARTBEAT, NOW) == LookAgainAt(NOW + 30 * SECOND)
    assert decide_deadline(RUNNING, started(NOW - MINUTE), WITH_HEARTBEAT, NOW) == TimedOut(NOW, HEARTBEAT_TIMEOUT)


@pytest.mark.parametrize("status", [InvocationStatus.STARTING, InvocationStatus.RETRYING])
def test_a_launch_that_is_still_tried_is_not_silent(status: InvocationStatus) -> None:
    assert decide_deadline(status, started(NOW - 5 * MINUTE), WITH_HEARTBEAT, NOW) == LookAgainAt(NOW + MINUTE)


def test_silence_in_which_nobody_listened_does_not_count() -> None:
    """A look that comes late: the engines were away, or the database. What was reported since waits in the queue."""
    silent = started(NOW - 30 * MINUTE, NOW - 20 * MINUTE)
    late = decide_deadline(RUNNING, silent, WITH_HEARTBEAT, NOW, due_at=NOW - LATE_LOOK - SECOND)
    assert late == LookAgainAt(NOW + MINUTE)
    on_time = decide_deadline(RUNNING, silent, WITH_HEARTBEAT, NOW, due_at=NOW - LATE_LOOK)
    assert on_time == TimedOut(NOW - 19 * MINUTE, HEARTBEAT_TIMEOUT)


def test_a_late_look_puts_no_run_timeout_off() -> None:
    ending = started(NOW - HOUR + 5 * SECOND)
    assert decide_deadline(RUNNING, ending, WITH_HEARTBEAT, NOW, due_at=CREATED) == LookAgainAt(NOW + 5 * SECOND)
    assert decide_deadline(RUNNING, started(NOW - HOUR), WITH_HEARTBEAT, NOW, due_at=CREATED) == TimedOut(
        NOW, RUN_TIMEOUT
    )


@pytest.mark.parametrize("timeouts", [ONE_HOUR, WITH_HEARTBEAT])
def test_an_end_that_was_accepted_and_waits_wins_over_every_timeout(timeouts: RunTimeouts) -> None:
    late = decide_deadline(RUNNING, started(NOW - 2 * HOUR), timeouts, NOW, end_waits=True)
    assert late == LookAgainAt(NOW + 5 * SECOND)
    never_applied = started(NOW - 25 * HOUR)
    assert decide_deadline(RUNNING, never_applied, timeouts, NOW, end_waits=True) == decide_deadline(
        RUNNING, never_applied, timeouts, NOW
    )
    early = decide_deadline(RUNNING, started(NOW - SECOND), timeouts, NOW, end_waits=True)
    assert early == LookAgainAt(NOW - SECOND + timeouts.shortest)


def test_of_two_timeouts_that_passed_the_earlier_is_the_reason() -> None:
    late = started(NOW - 2 * HOUR, NOW - 2 * HOUR)
    assert decide_deadline(RUNNING, late, WITH_HEARTBEAT, NOW) == TimedOut(NOW - 2 * HOUR + MINUTE, HEARTBEAT_TIMEOUT)
