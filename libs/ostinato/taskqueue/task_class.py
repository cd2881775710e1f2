"""What a kind of task is: its payload type, queue and retry policy.

One payload type belongs to one class. Classes are plain values, built once at module level of the program that
owns them; handlers are attached to a Dispatcher or worker in `main`, never by import.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any, Generic, TypeVar

from google.protobuf.message import Message

from ostinato.errors import InvalidArgument
from ostinato.taskqueue.priority import Priority
from ostinato.taskqueue.task_flags import CULPRIT_FROM, MOST_CRASHES

P = TypeVar("P", bound=Message)


class TaskKind(StrEnum):
    """Whether a task may, must or must not be added inside a transaction."""

    TRANSACTIONAL = "transactional"
    NON_TRANSACTIONAL = "non-transactional"
    FOLLOWS_CONTEXT = "follows-context"  # `tx` given or not, both are fine


@dataclass(frozen=True, slots=True)
class Retry:
    """Cloud Tasks' meaning: `max_attempts` counts the first run, 0 means unlimited; backoff doubles
    `max_doublings` times from `min_backoff`, then grows linearly, and never exceeds `max_backoff`.

    After an error that passes by itself (`Transient`) it never exceeds `max_transient_backoff` where that is given: a
    database that was away for minutes is back in a moment, and then nothing should wait for minutes more.
    """

    max_attempts: int = 0
    min_backoff: timedelta = timedelta(milliseconds=100)
    max_backoff: timedelta = timedelta(hours=1)
    max_doublings: int = 16
    max_transient_backoff: timedelta | None = None


@dataclass(frozen=True, slots=True)
class TaskClass(Generic[P]):
    """`batch_size` > 1 only matters for handlers that take many tasks at once."""

    name: str
    payload: type[P]
    kind: TaskKind
    queue: str
    retry: Retry = Retry()
    priority: Priority = Priority.NORMAL
    # At most this many handlers of the class run at once in one process (batch handlers: batches).
    max_running: int = 100
    batch_size: int = 500
    # A handler that runs longer is cancelled; the attempt counts as failed.
    deadline: timedelta = timedelta(minutes=10)
    # A task that killed its process this often in a row is a dead letter. 0: never; it is run alone, and ever later up
    # to five minutes. At least 3: the first two deaths are charged to all that the process held.
    max_crashes: int = 0


def check_classes(classes: Sequence[TaskClass[Any]]) -> None:
    """Raises InvalidArgument for two of one name or of one payload type, and for limits that blame the wrong."""
    for task_class in classes:
        if task_class.max_crashes and not CULPRIT_FROM <= task_class.max_crashes <= MOST_CRASHES:
            rule = f"of `{task_class.name}` must be 0, or from {CULPRIT_FROM} to {MOST_CRASHES}"
            raise InvalidArgument.of("max_crashes", rule)
    for what, values in (
        ("name", [task_class.name for task_class in classes]),
        ("payload", [task_class.payload.DESCRIPTOR.full_name for task_class in classes]),
    ):
        if twice := sorted({value for value in values if values.count(value) > 1}):
            raise InvalidArgument.of("classes", f"two task classes have the {what} {', '.join(twice)}")
