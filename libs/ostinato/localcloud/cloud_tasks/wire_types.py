"""The messages of Cloud Tasks as plain protobuf ones, typed by the official client's wrappers.

The wrappers turn times into other types at every access; the plain ones are what the wire carries, and faster.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TypeVar, cast

from google.cloud import tasks_v2
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from ostinato.errors import InvalidArgument

W = TypeVar("W")


def _plain(wrapper: type[W]) -> type[W]:
    return cast("type[W]", wrapper.pb())  # type: ignore[attr-defined]


Queue = _plain(tasks_v2.Queue)
Task = _plain(tasks_v2.Task)
Attempt = _plain(tasks_v2.Attempt)
HttpRequest = _plain(tasks_v2.HttpRequest)
RetryConfig = _plain(tasks_v2.RetryConfig)
RateLimits = _plain(tasks_v2.RateLimits)
ListQueuesRequest = _plain(tasks_v2.ListQueuesRequest)
ListQueuesResponse = _plain(tasks_v2.ListQueuesResponse)
GetQueueRequest = _plain(tasks_v2.GetQueueRequest)
CreateQueueRequest = _plain(tasks_v2.CreateQueueRequest)
UpdateQueueRequest = _plain(tasks_v2.UpdateQueueRequest)
DeleteQueueRequest = _plain(tasks_v2.DeleteQueueRequest)
PurgeQueueRequest = _plain(tasks_v2.PurgeQueueRequest)
PauseQueueRequest = _plain(tasks_v2.PauseQueueRequest)
ResumeQueueRequest = _plain(tasks_v2.ResumeQueueRequest)
ListTasksRequest = _plain(tasks_v2.ListTasksRequest)
ListTasksResponse = _plain(tasks_v2.ListTasksResponse)
GetTaskRequest = _plain(tasks_v2.GetTaskRequest)
CreateTaskRequest = _plain(tasks_v2.CreateTaskRequest)
DeleteTaskRequest = _plain(tasks_v2.DeleteTaskRequest)
RunTaskRequest = _plain(tasks_v2.RunTaskRequest)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def parse_instant(path: str, stamp: Timestamp) -> datetime:
    """Cut to microseconds. Raises InvalidArgument with `path` for what RFC 3339 can't say."""
    if not 0 <= stamp.nanos < 1_000_000_000:
        raise InvalidArgument.of(path, "must have nanos from 0 to 999999999")
    try:
        return _EPOCH + timedelta(seconds=stamp.seconds, microseconds=stamp.nanos // 1000)
    except OverflowError:
        raise InvalidArgument.of(path, "must lie in the years 1 to 9999") from None


def parse_duration(path: str, duration: Duration) -> timedelta:
    """Cut to microseconds. Raises InvalidArgument with `path` for what is negative or out of all bounds."""
    if duration.seconds < 0 or not 0 <= duration.nanos < 1_000_000_000:
        raise InvalidArgument.of(path, "must not be negative")
    try:
        return timedelta(seconds=duration.seconds, microseconds=duration.nanos // 1000)
    except OverflowError:
        raise InvalidArgument.of(path, "must be at most 315,576,000,000 s") from None


def set_instant(stamp: Timestamp, at: datetime) -> None:
    since = at - _EPOCH
    stamp.seconds = since // timedelta(seconds=1)
    stamp.nanos = at.microsecond * 1000


def set_duration(duration: Duration, length: timedelta) -> None:
    duration.seconds = length // timedelta(seconds=1)
    duration.nanos = length.microseconds * 1000
