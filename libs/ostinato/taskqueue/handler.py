"""Which code runs a class of tasks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ostinato.taskqueue.outcome import Outcome
from ostinato.taskqueue.task_class import P, TaskClass
from ostinato.taskqueue.task_context import TaskContext

HandleOne = Callable[[TaskContext, Any], Awaitable[None]]
HandleMany = Callable[[Sequence[TaskContext]], Awaitable[Sequence[Outcome | None]]]


@dataclass(frozen=True, slots=True)
class Handler:
    """Exactly one of `one` and `many`. A batch handler answers one outcome per task, None for done."""

    task_class: TaskClass[Any]
    one: HandleOne | None = None
    many: HandleMany | None = None

    @classmethod
    def single(cls, task_class: TaskClass[P], handle: Callable[[TaskContext, P], Awaitable[None]]) -> Handler:
        return cls(task_class, one=handle)

    @classmethod
    def batch(cls, task_class: TaskClass[P], handle_many: HandleMany) -> Handler:
        return cls(task_class, many=handle_many)
