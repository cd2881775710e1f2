"""What task classes must obey to be registered. A mistake is one of the program, found when it starts. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

from google.protobuf.message import Message

from ostinato.config.environment import is_host
from ostinato.errors import InvalidArgument, Violation
from ostinato.taskqueue.task_class import Backend, Retry, TaskClass, TaskKind
from ostinato.taskqueue.task_flags import CULPRIT_FROM, MOST_CRASHES

CLASS_NAME = re.compile(r"[a-zA-Z0-9_\-.]{1,100}")
_PREFIX = re.compile(r"/[A-Za-z0-9\-._~!$&'()*+,;=:@/]*")
_SHORT_QUEUE = re.compile(r"[^/\s]{1,100}")
_REMOTE_QUEUE = re.compile(r"[A-Za-z0-9-]{1,100}|projects/[^/\s]+/locations/[^/\s]+/queues/[A-Za-z0-9-]{1,100}")


def check_classes(classes: Sequence[TaskClass[Any]], default: Backend = Backend.EMBEDDED) -> None:
    """Raises InvalidArgument, also for two classes of one name or of one payload type."""
    violations = [
        Violation(f"classes[{task_class.name}].{field}" if task_class.name else f"classes.{field}", rule)
        for task_class in classes
        for field, rule in _broken_rules(task_class, task_class.backend or default)
    ]
    for what, values in (
        ("name", [task_class.name for task_class in classes]),
        ("payload", [_payload_name(task_class) for task_class in classes]),
    ):
        if twice := sorted({value for value in values if values.count(value) > 1}):
            violations.append(Violation("classes", f"two task classes have the {what} {', '.join(twice)}"))
    if violations:
        raise InvalidArgument(violations)


def _payload_name(task_class: TaskClass[Any]) -> str:
    descriptor = getattr(task_class.payload, "DESCRIPTOR", None)
    return str(descriptor.full_name) if descriptor is not None else repr(task_class.payload)


def _broken_rules(task_class: TaskClass[Any], backend: Backend) -> Iterator[tuple[str, str]]:
    """Fields with the rules they break."""
    if not CLASS_NAME.fullmatch(task_class.name):
        yield "name", "must be 1 to 100 letters, digits, `_`, `-` or `.`"
    if not (isinstance(task_class.payload, type) and issubclass(task_class.payload, Message)):
        yield "payload", "must be a class of protobuf messages"
    if not isinstance(task_class.kind, TaskKind):
        yield "kind", "must be one of TaskKind"
    if task_class.max_crashes and not CULPRIT_FROM <= task_class.max_crashes <= MOST_CRASHES:
        yield "max_crashes", f"must be 0, or from {CULPRIT_FROM} to {MOST_CRASHES}"
    if task_class.max_running < 1 or task_class.batch_size < 1:
        yield ("max_running" if task_class.max_running < 1 else "batch_size"), "must be at least 1"
    if task_class.deadline <= timedelta(0):
        yield "deadline", "must be positive"
    yield from (("retry." + field, rule) for field, rule in retry_rules(task_class.retry))
    yield from _queue_rules(task_class, backend)
    yield from _route_rules(task_class, backend)


def retry_rules(retry: Retry) -> Iterator[tuple[str, str]]:
    if retry.max_attempts < 0:
        yield "max_attempts", "must not be negative (0 is unlimited)"
    if retry.min_backoff < timedelta(0):
        yield "min_backoff", "must not be negative"
    if retry.max_backoff < retry.min_backoff:
        yield "max_backoff", "must not be shorter than min_backoff"
    if retry.max_doublings < 0:
        yield "max_doublings", "must not be negative"
    if retry.max_transient_backoff is not None and retry.max_transient_backoff < timedelta(0):
        yield "max_transient_backoff", "must not be negative"


def _queue_rules(task_class: TaskClass[Any], backend: Backend) -> Iterator[tuple[str, str]]:
    if task_class.queue and task_class.queue_picker is not None:
        yield "queue_picker", "must not be given together with a queue"
    elif not task_class.queue and task_class.queue_picker is None:
        yield "queue", "must be given, or a queue_picker"
    elif not task_class.queues:
        yield "queue_picker.queues", "must name at least one queue"
    remote = backend is Backend.CLOUD_TASKS
    for queue in task_class.queues:
        if queue and not (_REMOTE_QUEUE if remote else _SHORT_QUEUE).fullmatch(queue):
            yield "queue", _REMOTE_QUEUE_RULE if remote else "must be 1 to 100 characters without spaces or slashes"


_REMOTE_QUEUE_RULE = (
    "must be 1 to 100 letters, digits or `-`, by itself or as projects/PROJECT/locations/LOCATION/queues/QUEUE"
)


def _route_rules(task_class: TaskClass[Any], backend: Backend) -> Iterator[tuple[str, str]]:
    if task_class.routing_prefix and not _PREFIX.fullmatch(task_class.routing_prefix):
        yield "routing_prefix", "must be a path that begins with a slash"
    if task_class.target_host and not is_host(task_class.target_host):
        yield "target_host", "must be HOST or HOST:PORT"
    if task_class.custom is not None and backend is Backend.EMBEDDED:
        yield "custom", "means nothing on the embedded queue, which sends no requests: pin the class to cloud_tasks"
