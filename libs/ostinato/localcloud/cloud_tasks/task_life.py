"""The life of a task: scheduled, dispatched, answered, and then again or gone. Pure.

A state is never changed; each step makes the next one. More than one attempt may be under way, because RunTask
dispatches a task that is running.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from ostinato.localcloud.cloud_tasks.attempt_result import AttemptResult
from ostinato.localcloud.cloud_tasks.retry_rules import RetryRules

# A task that has not succeeded by then is deleted.
RETENTION = timedelta(days=31)


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """One attempt. `number` counts from 1; `result` and `ended_at` are there when it has ended."""

    number: int
    scheduled_at: datetime
    dispatched_at: datetime
    ended_at: datetime | None = None
    result: AttemptResult | None = None


@dataclass(frozen=True, slots=True)
class TaskState:
    """`executions`: answers other than the server errors of the target. `previous`: the last result that came."""

    created_at: datetime
    scheduled_at: datetime
    dispatches: int = 0
    responses: int = 0
    executions: int = 0
    first_dispatched_at: datetime | None = None
    last_attempt: AttemptRecord | None = None
    previous: AttemptResult | None = None


def begin(now: datetime, scheduled_at: datetime | None) -> TaskState:
    """Of a task without a time, or with one in the past, that time is now."""
    return TaskState(created_at=now, scheduled_at=max(now, scheduled_at or now))


def dispatch(state: TaskState, now: datetime) -> tuple[TaskState, AttemptRecord]:
    attempt = AttemptRecord(state.dispatches + 1, state.scheduled_at, now)
    following = replace(
        state,
        dispatches=attempt.number,
        first_dispatched_at=state.first_dispatched_at or now,
        last_attempt=attempt,
    )
    return following, attempt


def end_attempt(state: TaskState, attempt: AttemptRecord, result: AttemptResult, now: datetime) -> TaskState:
    """Counts what came. An attempt that was overtaken by another is not the last one."""
    ended = replace(attempt, ended_at=now, result=result)
    is_last = state.last_attempt is not None and state.last_attempt.number == attempt.number
    return replace(
        state,
        responses=state.responses + (result.http_status is not None),
        executions=state.executions + result.executed,
        last_attempt=ended if is_last else state.last_attempt,
        previous=result,
    )


def schedule_retry(state: TaskState, rules: RetryRules, now: datetime, *, delayed_from: datetime) -> TaskState | None:
    """After a failed attempt; None if the task has failed for good. The delay counts from `delayed_from`."""
    first = state.first_dispatched_at or now
    if rules.gives_up(state.dispatches, now - first):
        return None
    scheduled_at = delayed_from + rules.backoff(state.dispatches)
    if scheduled_at >= state.created_at + RETENTION:
        return None
    return replace(state, scheduled_at=scheduled_at)
