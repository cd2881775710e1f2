"""The task whose handler runs, for code far below it that was not handed the task."""

from __future__ import annotations

from contextvars import ContextVar

from ostinato.errors import FailedPrecondition
from ostinato.taskqueue.task_context import TaskContext

RUNNING_TASK: ContextVar[TaskContext | None] = ContextVar("running_task", default=None)


def running_task() -> TaskContext:
    """Raises FailedPrecondition outside a handler, and in one that was given many tasks at once."""
    if (task := RUNNING_TASK.get()) is None:
        raise FailedPrecondition("no single task is being handled here: only its handler can be told of a task")
    return task
