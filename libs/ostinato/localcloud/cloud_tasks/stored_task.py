"""A task as its queue keeps it, and what callers are shown of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from google.cloud import tasks_v2
from google.rpc import code_pb2

from ostinato.localcloud.cloud_tasks.queue_rules import retry_config_of
from ostinato.localcloud.cloud_tasks.resource_names import TaskName
from ostinato.localcloud.cloud_tasks.retry_rules import RetryRules
from ostinato.localcloud.cloud_tasks.task_life import AttemptRecord, TaskState
from ostinato.localcloud.cloud_tasks.wire_types import Attempt, Task, set_duration, set_instant

_View = tasks_v2.Task.View


@dataclass(slots=True, eq=False)
class StoredTask:
    """`number` counts the tasks of its queue; `ticket` is that of its newest place among what waits.

    `running` counts its attempts under way. `retry`: its own rules instead of the queue's.
    """

    number: int
    name: TaskName
    http: tasks_v2.HttpRequest
    deadline: timedelta
    retry: RetryRules | None
    state: TaskState
    ticket: int = 0
    running: int = 0


def show_task(task: StoredTask, view: int) -> tasks_v2.Task:
    """BASIC unless FULL is asked for; BASIC leaves out the body."""
    shown = Task(name=task.name, http_request=task.http)
    shown.view = _View(view or _View.BASIC)
    if shown.view != _View.FULL:
        shown.http_request.ClearField("body")
    set_duration(shown.dispatch_deadline, task.deadline)
    if task.retry is not None:
        shown.retry_config.CopyFrom(retry_config_of(task.retry))
    _show_state(shown, task.state)
    return shown


def _show_state(shown: tasks_v2.Task, state: TaskState) -> None:
    set_instant(shown.schedule_time, state.scheduled_at)
    set_instant(shown.create_time, state.created_at.replace(microsecond=0))
    shown.dispatch_count = state.dispatches
    shown.response_count = state.responses
    if state.first_dispatched_at is not None:
        set_instant(shown.first_attempt.dispatch_time, state.first_dispatched_at)
    if state.last_attempt is not None:
        shown.last_attempt.CopyFrom(_show_attempt(state.last_attempt))


def _show_attempt(attempt: AttemptRecord) -> tasks_v2.Attempt:
    shown = Attempt()
    set_instant(shown.schedule_time, attempt.scheduled_at)
    set_instant(shown.dispatch_time, attempt.dispatched_at)
    if attempt.ended_at is not None and attempt.result is not None:
        set_instant(shown.response_time, attempt.ended_at)
        code = code_pb2.Code.Value(attempt.result.code)
        shown.response_status.code = code
        shown.response_status.message = f"{attempt.result.code}({code}): {attempt.result.message}"
    return shown
