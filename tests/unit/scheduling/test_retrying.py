"""Which ends are tried again, and when."""

from __future__ import annotations

from datetime import timedelta

import pytest

from ostinato.scheduling.invocation import InvocationStatus
from ostinato.scheduling.invocation_id import InvocationId
from ostinato.scheduling.job_definition import RetryPolicy
from ostinato.scheduling.retrying import decide_retry, next_attempt, retry_jitter

S = InvocationStatus
SECOND = timedelta(seconds=1)
THREE = RetryPolicy(3)


def decide(
    status: InvocationStatus,
    attempt: int = 1,
    policy: RetryPolicy = THREE,
    *,
    error_retryable: bool = True,
    jitter: float = 0.0,
) -> timedelta | None:
    return decide_retry(status, attempt, policy, error_retryable=error_retryable, jitter=jitter)


@pytest.mark.parametrize("status", [status for status in S if status not in (S.FAILED, S.TIMED_OUT)])
def test_nothing_but_failures_is_tried_again(status: InvocationStatus) -> None:
    assert decide(status) is None


def test_a_failure_is_tried_again_if_its_error_may_pass() -> None:
    assert decide(S.FAILED) == SECOND
    assert decide(S.FAILED, error_retryable=False) is None


def test_a_timeout_is_always_tried_again() -> None:
    assert decide(S.TIMED_OUT, error_retryable=False) == SECOND


def test_the_first_run_counts_as_an_attempt() -> None:
    assert [decide(S.FAILED, attempt) is None for attempt in (1, 2, 3, 4)] == [False, False, True, True]
    assert decide(S.FAILED, policy=RetryPolicy()) is None


def test_the_backoff_doubles_up_to_its_maximum() -> None:
    policy = RetryPolicy(10, SECOND, 5 * SECOND)
    assert [decide(S.FAILED, attempt, policy) for attempt in (1, 2, 3, 4, 9)] == [
        SECOND,
        2 * SECOND,
        4 * SECOND,
        5 * SECOND,
        5 * SECOND,
    ]


def test_jitter_shortens_the_backoff_down_to_a_half_but_not_below_its_minimum() -> None:
    assert decide(S.FAILED, 2, jitter=1.0) == SECOND
    assert decide(S.FAILED, 1, jitter=1.0) == SECOND
    assert decide(S.FAILED, 2, jitter=0.5) == timedelta(seconds=1.5)


def test_a_run_draws_the_same_jitter_wherever_it_is_asked_for() -> None:
    draws = [retry_jitter(InvocationId(number)) for number in range(1000)]
    assert draws == [retry_jitter(InvocationId(number)) for number in range(1000)]
    assert 0 <= min(draws) < 0.1
    assert 0.9 < max(draws) <= 1


def test_attempts_are_counted_as_far_as_they_can_be_stored() -> None:
    assert next_attempt(1) == 2
    assert next_attempt(32_766) == next_attempt(32_767) == 32_767
