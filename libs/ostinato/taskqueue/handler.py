"""Which code runs a class of tasks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Container, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ostinato.errors import InvalidArgument
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


def by_queue(handler: Handler) -> list[Handler]:
    """One for each queue of its class, with a class that waits only there."""
    task_class = handler.task_class
    if task_class.queue_picker is None:
        return [handler]
    return [
        replace(handler, task_class=replace(task_class, queue=name, queue_picker=None)) for name in task_class.queues
    ]


def check_handlers(handlers: Sequence[Handler], classes: Container[str]) -> None:
    """Raises InvalidArgument. `classes`: the names of those that the dispatcher was given."""
    names = [handler.task_class.name for handler in handlers]
    if len(names) != len(set(names)):
        raise InvalidArgument.of("handlers", "two handlers for one task class")
    if unknown := [name for name in names if name not in classes]:
        raise InvalidArgument.of("handlers", f"`{unknown[0]}` is no task class of the dispatcher")
