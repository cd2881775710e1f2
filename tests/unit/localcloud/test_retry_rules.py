from __future__ import annotations

from datetime import timedelta

import pytest

from ostinato.localcloud.cloud_tasks.retry_rules import UNLIMITED, RetryRules

HOUR = timedelta(hours=1)


def seconds(rules: RetryRules, failures: int) -> list[float]:
    return [rules.backoff(number).total_seconds() for number in range(1, failures + 1)]


def test_delays_double_then_grow_by_the_last_step_up_to_the_maximum() -> None:
    # The example of the documentation.
    rules = RetryRules(min_backoff=timedelta(seconds=10), max_backoff=timedelta(seconds=300), max_doublings=3)
    assert seconds(rules, 8) == [10, 20, 40, 80, 160, 240, 300, 300]


def test_the_defaults_begin_with_a_tenth_of_a_second() -> None:
    assert seconds(RetryRules(), 4) == [0.1, 0.2, 0.4, 0.8]


def test_no_number_of_failures_is_too_large() -> None:
    rules = RetryRules(max_attempts=UNLIMITED, max_doublings=2**31 - 1, max_backoff=timedelta(days=30))
    assert rules.backoff(2**31) == timedelta(days=30)


@pytest.mark.parametrize(
    ("max_attempts", "max_duration", "attempts", "since_first", "gives_up"),
    [
        (3, timedelta(), 2, 9 * HOUR, False),
        (3, timedelta(), 3, timedelta(), True),
        # Both limits have to be reached.
        (3, HOUR, 3, HOUR / 2, False),
        (3, HOUR, 2, 2 * HOUR, False),
        (3, HOUR, 5, HOUR, True),
        (UNLIMITED, HOUR, 1, HOUR, True),
        (UNLIMITED, HOUR, 99, HOUR / 2, False),
        (UNLIMITED, timedelta(), 10**6, 10**4 * HOUR, False),
    ],
)
def test_when_a_task_is_given_up(
    max_attempts: int, max_duration: timedelta, attempts: int, since_first: timedelta, gives_up: bool
) -> None:
    rules = RetryRules(max_attempts=max_attempts, max_retry_duration=max_duration)
    assert rules.gives_up(attempts, since_first) is gives_up
