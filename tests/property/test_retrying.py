"""What holds for every retry."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from ostinato.scheduling.invocation import InvocationStatus, is_final
from ostinato.scheduling.job_definition import RetryPolicy
from ostinato.scheduling.retrying import decide_retry
from ostinato.scheduling.validate_job import MAX_ATTEMPTS, MAX_RETRY_BACKOFF

BACKOFFS = st.timedeltas(timedelta(microseconds=1), MAX_RETRY_BACKOFF)
POLICIES = st.builds(
    lambda attempts, one, other: RetryPolicy(attempts, min(one, other), max(one, other)),
    st.integers(1, MAX_ATTEMPTS),
    BACKOFFS,
    BACKOFFS,
)


@given(st.sampled_from(InvocationStatus), st.integers(1, 32_767), POLICIES, st.booleans(), st.floats(0, 1))
def test_a_retry_keeps_to_its_policy(
    status: InvocationStatus, attempt: int, policy: RetryPolicy, retryable: bool, jitter: float
) -> None:
    backoff = decide_retry(status, attempt, policy, error_retryable=retryable, jitter=jitter)
    if backoff is not None:
        assert is_final(status)
        assert attempt < policy.max_attempts
        assert policy.min_backoff <= backoff <= policy.max_backoff


@given(POLICIES, st.integers(1, MAX_ATTEMPTS), st.floats(0, 1), st.floats(0, 1))
def test_more_jitter_never_waits_longer_and_later_attempts_never_wait_less(
    policy: RetryPolicy, attempt: int, one: float, other: float
) -> None:
    def wait(number: int, jitter: float) -> timedelta | None:
        return decide_retry(InvocationStatus.TIMED_OUT, number, policy, error_retryable=True, jitter=jitter)

    longer, shorter = wait(attempt, min(one, other)), wait(attempt, max(one, other))
    if longer is not None and shorter is not None:
        assert shorter <= longer
    later = wait(attempt + 1, one)
    earlier = wait(attempt, one)
    if later is not None and earlier is not None:
        assert earlier <= later


@given(POLICIES, st.floats(0, 1))
def test_a_run_that_keeps_failing_ends_after_all_its_attempts(policy: RetryPolicy, jitter: float) -> None:
    attempts = 1
    while decide_retry(InvocationStatus.FAILED, attempts, policy, error_retryable=True, jitter=jitter) is not None:
        attempts += 1
    assert attempts == policy.max_attempts
