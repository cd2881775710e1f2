"""The headers of a push: those that the task carries, and those that only Cloud Tasks may set. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from ostinato.localcloud.cloud_tasks.resource_names import QueueName, TaskName, queue_of, short_name
from ostinato.localcloud.cloud_tasks.task_life import AttemptRecord, TaskState

USER_AGENT = "Google-Cloud-Tasks"

_REPLACED = frozenset({"host", "content-length", "user-agent", "transfer-encoding", "connection"})
_RESERVED_PREFIXES = ("x-google-", "x-appengine-", "x-cloudtasks-")


def dispatch_headers(
    name: TaskName,
    state: TaskState,
    attempt: AttemptRecord,
    given: Mapping[str, str],
    *,
    has_body: bool,
    authorization: str | None,
) -> dict[str, str]:
    """`state` is the one at the dispatch. What a token is made for replaces the task's own Authorization."""
    headers = {key: value for key, value in given.items() if not _is_reserved(key)}
    names = {key.lower(): key for key in headers}
    if has_body and "content-type" not in names:
        headers["Content-Type"] = "application/octet-stream"
    if authorization is not None:
        headers.pop(names.get("authorization", ""), None)
        headers["Authorization"] = authorization
    return headers | {"User-Agent": USER_AGENT} | _task_headers(name, queue_of(name), state, attempt)


def _task_headers(name: TaskName, queue: QueueName, state: TaskState, attempt: AttemptRecord) -> dict[str, str]:
    headers = {
        "X-CloudTasks-QueueName": short_name(queue),
        "X-CloudTasks-TaskName": short_name(name),
        "X-CloudTasks-TaskRetryCount": str(attempt.number - 1),
        "X-CloudTasks-TaskExecutionCount": str(state.executions),
        "X-CloudTasks-TaskETA": _seconds(attempt.scheduled_at),
    }
    if state.previous is None:
        return headers
    headers["X-CloudTasks-TaskRetryReason"] = f"{state.previous.code}: {state.previous.message}"
    if state.previous.http_status is not None:
        headers["X-CloudTasks-TaskPreviousResponse"] = str(state.previous.http_status)
    return headers


def _seconds(at: datetime) -> str:
    """Since 1970, with six places."""
    whole = int(at.timestamp() // 1)
    return f"{whole}.{at.microsecond:06d}"


def _is_reserved(name: str) -> bool:
    lower = name.lower()
    return lower in _REPLACED or lower.startswith(_RESERVED_PREFIXES)
