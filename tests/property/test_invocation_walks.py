"""Random histories of an invocation and its launches."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from ostinato.scheduling.backoff import doubling_backoff
from ostinato.scheduling.invocation import InvocationStatus, is_final, is_initial, may_move
from ostinato.scheduling.launching import MAX_LAUNCH_ATTEMPTS, GiveUpLaunch, StartLaunch, decide_launch

NOW = datetime(2026, 3, 1, tzinfo=UTC)
STATUSES = st.sampled_from(InvocationStatus)
TIMEOUTS = st.timedeltas(timedelta(seconds=1), timedelta(days=7))


@given(st.lists(STATUSES, max_size=30))
def test_the_first_end_wins(wanted: list[InvocationStatus]) -> None:
    """Attempted moves in any order: the accepted ones never lead out of an end, nor back to a launch."""
    accepted = [InvocationStatus.STARTING]
    for status in wanted:
        if may_move(accepted[-1], status):
            accepted.append(status)
    ends = [status for status in accepted if is_final(status)]
    assert ends == [status for status in wanted if is_final(status)][:1]
    assert not ends or is_final(accepted[-1])


@given(STATUSES, STATUSES)
def test_no_move_leads_backwards(current: InvocationStatus, wanted: InvocationStatus) -> None:
    assert not may_move(current, wanted) or wanted >= current


@given(st.lists(st.timedeltas(timedelta(0), timedelta(minutes=20)), max_size=80), TIMEOUTS)
def test_launches_end_after_at_most_fifty_attempts_or_the_timeout(waits: list[timedelta], timeout: timedelta) -> None:
    now, attempts, started = NOW, 0, None
    for wait in waits:
        now += wait
        decision = decide_launch(InvocationStatus.RETRYING, attempts, started, timeout, now)
        if isinstance(decision, GiveUpLaunch):
            assert attempts == MAX_LAUNCH_ATTEMPTS or (started is not None and now >= started + timeout)
            return
        assert isinstance(decision, StartLaunch)
        assert decision.attempt == attempts + 1 <= MAX_LAUNCH_ATTEMPTS
        assert decision.started_at == (now if started is None else started)
        assert decision.run_until == decision.started_at + timeout > now
        attempts, started = decision.attempt, decision.started_at


@given(STATUSES, st.integers(0, 100), st.none() | st.just(NOW), TIMEOUTS)
def test_only_initial_invocations_are_launched(
    status: InvocationStatus, attempts: int, started: datetime | None, timeout: timedelta
) -> None:
    decision = decide_launch(status, attempts, started, timeout, NOW)
    assert not isinstance(decision, StartLaunch) or is_initial(status)


@given(
    st.integers(0, 10_000),
    st.timedeltas(timedelta(microseconds=1), timedelta(seconds=30)),
    st.timedeltas(timedelta(seconds=30), timedelta(days=30)),
    st.floats(0, 1),
)
def test_backoff_stays_within_its_bounds_and_never_shrinks(
    attempt: int, minimum: timedelta, maximum: timedelta, jitter: float
) -> None:
    wait = doubling_backoff(attempt, minimum=minimum, maximum=maximum, jitter=jitter)
    longest = doubling_backoff(attempt, minimum=minimum, maximum=maximum)
    assert minimum <= wait <= longest <= maximum
    assert longest <= doubling_backoff(attempt + 1, minimum=minimum, maximum=maximum) <= 2 * longest
