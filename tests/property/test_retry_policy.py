"""Backoff grows, is bounded, and spreads."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from ostinato.taskqueue.retry_policy import backoff
from ostinato.taskqueue.task_class import Retry

RETRIES = st.builds(
    lambda low, factor, doublings: Retry(min_backoff=low, max_backoff=low * factor, max_doublings=doublings),
    st.timedeltas(min_value=timedelta(milliseconds=1), max_value=timedelta(seconds=30)),
    st.integers(1, 1000),
    st.integers(0, 100),
)


@given(RETRIES, st.integers(1, 100_000), st.floats(0, 1, exclude_max=True))
def test_backoff_stays_within_its_bounds(retry: Retry, failures: int, jitter: float) -> None:
    delay = backoff(retry, failures, jitter)
    assert retry.min_backoff <= delay <= retry.max_backoff


@given(RETRIES, st.integers(1, 1000))
def test_backoff_never_shrinks_with_more_failures(retry: Retry, failures: int) -> None:
    assert backoff(retry, failures, 0) <= backoff(retry, failures + 1, 0)


def test_backoff_doubles_then_grows_linearly() -> None:
    retry = Retry(min_backoff=timedelta(seconds=1), max_backoff=timedelta(hours=1), max_doublings=3)
    seconds = [backoff(retry, failures, 0).total_seconds() for failures in range(1, 8)]
    assert seconds == [1, 2, 4, 8, 16, 24, 32]
