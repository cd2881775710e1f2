"""What holds for every look at a deadline."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from ostinato.scheduling.deadline import (
    HEARTBEAT_TIMEOUT,
    LookAgainAt,
    RunTimeouts,
    RunTimes,
    TimedOut,
    decide_deadline,
)
from ostinato.scheduling.invocation import InvocationStatus, is_final
from ostinato.scheduling.validate_job import MAX_TIMEOUT, MIN_TIMEOUT

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
PAST = st.timedeltas(timedelta(0), 2 * MAX_TIMEOUT).map(lambda age: NOW - age)
TIMEOUTS = st.builds(
    RunTimeouts, st.timedeltas(MIN_TIMEOUT, MAX_TIMEOUT), st.none() | st.timedeltas(MIN_TIMEOUT, MAX_TIMEOUT)
)
TIMES = st.builds(RunTimes, PAST, st.none() | PAST, st.none() | PAST)
STATUSES = st.sampled_from(InvocationStatus)


@given(STATUSES, TIMES, TIMEOUTS, st.none() | PAST)
def test_whatever_is_looked_at_is_over_or_is_looked_at_again(
    status: InvocationStatus, times: RunTimes, timeouts: RunTimeouts, due_at: datetime | None
) -> None:
    """Later, but no later than the timeout: every unfinished run meets its end, and the loop makes progress."""
    match decide_deadline(status, times, timeouts, NOW, due_at=due_at):
        case TimedOut(deadline, reason):
            assert deadline <= NOW
            assert not is_final(status)
            assert times.started_at is not None
            assert reason == HEARTBEAT_TIMEOUT or deadline == times.started_at + timeouts.run
        case LookAgainAt(at):
            assert NOW < at <= NOW + timeouts.run


@given(TIMES, TIMEOUTS, st.timedeltas(timedelta(0), 2 * MAX_TIMEOUT))
def test_nothing_is_over_before_the_next_look(times: RunTimes, timeouts: RunTimeouts, later: timedelta) -> None:
    """Also if it begins to run right after the first look, and whatever signs of life it gives."""
    for status in (InvocationStatus.STARTING, InvocationStatus.RETRYING, InvocationStatus.RUNNING):
        first = decide_deadline(status, times, timeouts, NOW)
        if not isinstance(first, LookAgainAt) or NOW + later >= first.at:
            continue
        began = status is not InvocationStatus.RUNNING
        after = RunTimes(times.created_at, times.started_at or NOW, NOW if began else times.last_heartbeat_at)
        assert isinstance(decide_deadline(InvocationStatus.RUNNING, after, timeouts, NOW + later), LookAgainAt)


@given(TIMES, TIMEOUTS)
def test_a_sign_of_life_never_ends_a_run_earlier(times: RunTimes, timeouts: RunTimeouts) -> None:
    silent = decide_deadline(InvocationStatus.RUNNING, times, timeouts, NOW)
    alive = decide_deadline(InvocationStatus.RUNNING, RunTimes(times.created_at, times.started_at, NOW), timeouts, NOW)
    if isinstance(silent, LookAgainAt):
        assert isinstance(alive, LookAgainAt)
        assert alive.at >= silent.at
