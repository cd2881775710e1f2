"""Names of locations, queues and tasks, with Cloud Tasks' rules for each part. Pure."""

from __future__ import annotations

import re
from typing import NewType

from ostinato.errors import InvalidArgument

LocationName = NewType("LocationName", str)
QueueName = NewType("QueueName", str)
TaskName = NewType("TaskName", str)

_LOCATION = r"projects/[A-Za-z0-9:.-]+/locations/[A-Za-z0-9-]+"
_QUEUE = rf"({_LOCATION})/queues/[A-Za-z0-9-]{{1,100}}"
_TASK = rf"({_LOCATION}/queues/[A-Za-z0-9-]{{1,100}})/tasks/[A-Za-z0-9_-]{{1,500}}"
_LOCATION_PATTERN = re.compile(_LOCATION)
_QUEUE_PATTERN = re.compile(_QUEUE)
_TASK_PATTERN = re.compile(_TASK)

_LOCATION_RULE = "must be projects/PROJECT/locations/LOCATION"
_QUEUE_RULE = (
    "must be projects/PROJECT/locations/LOCATION/queues/QUEUE, where QUEUE has 1 to 100 letters, digits or hyphens"
)
_TASK_RULE = (
    "must be projects/PROJECT/locations/LOCATION/queues/QUEUE/tasks/TASK, "
    "where TASK has 1 to 500 letters, digits, hyphens or underscores"
)


def parse_location_name(path: str, text: str) -> LocationName:
    """Raises InvalidArgument with `path`, as its siblings do."""
    if not _LOCATION_PATTERN.fullmatch(text):
        raise InvalidArgument.of(path, _LOCATION_RULE)
    return LocationName(text)


def parse_queue_name(path: str, text: str) -> QueueName:
    if not _QUEUE_PATTERN.fullmatch(text):
        raise InvalidArgument.of(path, _QUEUE_RULE)
    return QueueName(text)


def parse_task_name(path: str, text: str) -> TaskName:
    if not _TASK_PATTERN.fullmatch(text):
        raise InvalidArgument.of(path, _TASK_RULE)
    return TaskName(text)


def location_of(name: QueueName) -> LocationName:
    return LocationName(name.rpartition("/queues/")[0])


def queue_of(name: TaskName) -> QueueName:
    return QueueName(name.rpartition("/tasks/")[0])


def task_name(queue: QueueName, task_id: str) -> TaskName:
    return TaskName(f"{queue}/tasks/{task_id}")


def short_name(name: QueueName | TaskName) -> str:
    """What stands after the last slash."""
    return name.rpartition("/")[2]
