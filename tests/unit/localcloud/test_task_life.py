from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ostinato.localcloud.cloud_tasks.attempt_result import answered, parse_retry_after, unanswered
from ostinato.localcloud.cloud_tasks.congestion import Congestion
from ostinato.localcloud.cloud_tasks.retry_rules import UNLIMITED, RetryRules
from ostinato.localcloud.cloud_tasks.task_life import begin, dispatch, end_attempt, schedule_retry

NOW = datetime(2026, 5, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def test_an_attempt_that_got_no_answer_counts_as_dispatched_only() -> None:
    state, attempt = dispatch(begin(NOW, None), NOW)
    state = end_attempt(state, attempt, unanswered("UNAVAILABLE", "gone"), NOW + SECOND)
    assert (state.dispatches, state.responses, state.executions) == (1, 0, 0)


@pytest.mark.parametrize(
    ("http_status", "code", "executed"),
    [(200, "OK", True), (302, "FAILED_PRECONDITION", True), (404, "NOT_FOUND", True),
     (418, "FAILED_PRECONDITION", True), (429, "RESOURCE_EXHAUSTED", True), (500, "INTERNAL", False),
     (599, "INTERNAL", False)],
)  # fmt: skip
def test_an_answer_counts_as_execution_unless_the_server_failed(http_status: int, code: str, executed: bool) -> None:
    result = answered(http_status)
    assert (result.code, result.executed, result.succeeded) == (code, executed, http_status == 200)


def test_an_attempt_that_was_overtaken_is_not_the_last_one() -> None:
    state, first = dispatch(begin(NOW, None), NOW)
    state, second = dispatch(state, NOW + SECOND)
    state = end_attempt(state, first, answered(500), NOW + 2 * SECOND)
    assert state.last_attempt == second
    assert (state.dispatches, state.responses, state.first_dispatched_at) == (2, 1, NOW)


def test_a_retry_beyond_the_retention_is_none() -> None:
    rules = RetryRules(max_attempts=UNLIMITED, min_backoff=timedelta(days=16), max_backoff=timedelta(days=16))
    state, _ = dispatch(begin(NOW, None), NOW)
    again = schedule_retry(state, rules, NOW, delayed_from=NOW)
    assert again is not None
    assert again.scheduled_at == NOW + timedelta(days=16)
    late = NOW + timedelta(days=16)
    assert schedule_retry(again, rules, late, delayed_from=late) is None


@pytest.mark.parametrize(
    ("text", "delay"),
    [("120", 120 * SECOND), ("0", 0 * SECOND), (None, None), ("-1", None), ("soon", None), ("²", None)],
)
def test_retry_after_is_read_as_seconds(text: str | None, delay: timedelta | None) -> None:
    assert parse_retry_after(text) == delay


def test_a_congested_queue_is_held_twice_as_long_each_time_up_to_a_minute() -> None:
    congestion, now, holds = Congestion(), NOW, []
    for _ in range(8):
        congestion.pushed_back(now, now, None)
        until = congestion.held_until(now)
        assert until is not None
        holds.append((until - now).total_seconds())
        now = until
    assert holds == [1, 2, 4, 8, 16, 32, 60, 60]
    assert congestion.held_until(now) is None


def test_a_success_begins_the_doubling_anew() -> None:
    congestion = Congestion()
    congestion.pushed_back(NOW, NOW, None)
    congestion.succeeded()
    later = NOW + timedelta(minutes=1)
    congestion.pushed_back(later, later, None)
    assert congestion.held_until(later) == later + SECOND


def test_what_was_sent_before_the_hold_does_not_lengthen_it_unless_it_asks() -> None:
    congestion = Congestion()
    congestion.pushed_back(NOW, NOW, None)
    congestion.pushed_back(NOW, NOW, None)
    assert congestion.held_until(NOW) == NOW + SECOND
    congestion.pushed_back(NOW, NOW, 90 * SECOND)
    assert congestion.held_until(NOW) == NOW + 90 * SECOND
