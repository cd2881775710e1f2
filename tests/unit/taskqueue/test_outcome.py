"""What each ending of a handler means for its task."""

from __future__ import annotations

from datetime import timedelta

import pytest

from ostinato import errors
from ostinato.taskqueue.outcome import Outcome, Verdict, decide_next_step
from ostinato.taskqueue.task_class import Retry

THREE = Retry(max_attempts=3, min_backoff=timedelta(seconds=1), max_backoff=timedelta(seconds=10))


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (errors.Fatal("no"), Verdict.DEAD),
        (errors.Ignore("no"), Verdict.IGNORE),
        (errors.RetryLater("soon", delay=timedelta(seconds=2)), Verdict.RETRY_LATER),
        (errors.Overloaded("slow"), Verdict.OVERLOADED),
        (errors.StaleLease("gone"), Verdict.LOST),
        (errors.Unavailable("db"), Verdict.RETRY),
        (errors.NotFound("x"), Verdict.RETRY),
        (RuntimeError("bug"), Verdict.RETRY),
    ],
)
def test_verdict_of_an_error(error: Exception, verdict: Verdict) -> None:
    assert Outcome.of_error(error).verdict is verdict


def test_the_failing_last_attempt_is_dead_and_counts_itself() -> None:
    step = decide_next_step(Outcome(Verdict.RETRY, error="boom"), THREE, failures=2, jitter=0)
    assert (step.verdict, step.failures, step.error) == (Verdict.DEAD, 3, "boom")


def test_a_failure_before_the_last_attempt_is_retried_with_backoff() -> None:
    step = decide_next_step(Outcome(Verdict.RETRY), THREE, failures=1, jitter=0)
    assert (step.verdict, step.failures, step.delay) == (Verdict.RETRY, 2, timedelta(seconds=2))


def test_what_failed_often_while_the_database_was_away_is_soon_tried_again_when_it_is_back() -> None:
    """It waited for as long as the backoff had grown: up to five minutes."""
    retry = Retry(max_backoff=timedelta(minutes=5), max_transient_backoff=timedelta(seconds=5))
    away = Outcome.of_error(errors.CommitOutcomeUnknown("no answer"))
    assert decide_next_step(away, retry, failures=30, jitter=0).delay == timedelta(seconds=5)
    assert decide_next_step(away, retry, failures=0, jitter=0).delay == retry.min_backoff
    broken = Outcome.of_error(RuntimeError("bug"))
    assert decide_next_step(broken, retry, failures=30, jitter=0).delay == timedelta(minutes=5)
    assert decide_next_step(away, Retry(), failures=30, jitter=0).delay == Retry().max_backoff


def test_unlimited_attempts_never_die() -> None:
    step = decide_next_step(Outcome(Verdict.RETRY), Retry(max_attempts=0), failures=10_000, jitter=0)
    assert step.verdict is Verdict.RETRY


def test_retry_later_uses_up_no_attempt_and_keeps_its_delay() -> None:
    outcome = Outcome.of_error(errors.RetryLater("x", delay=timedelta(seconds=7)))
    step = decide_next_step(outcome, THREE, failures=2, jitter=0.9)
    assert (step.verdict, step.failures, step.delay) == (Verdict.RETRY, 2, timedelta(seconds=7))


def test_recorded_errors_are_bounded() -> None:
    assert len(Outcome.of_error(RuntimeError("x" * 100_000)).error) == 4000
