"""What a task must look like to be taken. Pure, apart from the time it is told."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from google.cloud import tasks_v2

from ostinato.errors import FailedPrecondition, InvalidArgument, Violation
from ostinato.localcloud.cloud_tasks.queue_rules import parse_retry_rules
from ostinato.localcloud.cloud_tasks.resource_names import QueueName, TaskName, parse_task_name, queue_of
from ostinato.localcloud.cloud_tasks.retry_rules import RetryRules
from ostinato.localcloud.cloud_tasks.wire_types import HttpRequest, parse_duration, parse_instant

LARGEST_TASK_BYTES = 102_400
LARGEST_HEADERS_BYTES = 81_920
LONGEST_URL = 2_083
FARTHEST_SCHEDULE = timedelta(days=30)
DEFAULT_DEADLINE = timedelta(minutes=10)
SHORTEST_DEADLINE = timedelta(seconds=15)
LONGEST_DEADLINE = timedelta(minutes=30)

_HttpMethod = tasks_v2.HttpMethod
_WITH_BODY = frozenset({_HttpMethod.POST, _HttpMethod.PUT, _HttpMethod.PATCH})
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")


@dataclass(frozen=True, slots=True)
class NewTask:
    """A request that was found right. `name` is None if one has to be made up; so is `retry` for the queue's rules."""

    name: TaskName | None
    http: tasks_v2.HttpRequest
    schedule_at: datetime | None
    deadline: timedelta
    retry: RetryRules | None


def parse_new_task(queue: QueueName, task: tasks_v2.Task, now: datetime) -> NewTask:
    """Raises InvalidArgument with everything that is wrong with the fields of `task`."""
    name = _parse_name(queue, task.name)
    if task.HasField("app_engine_http_request"):
        raise FailedPrecondition("task.app_engine_http_request: this project has no App Engine application")
    violations = [*_size_violations(task), *_http_violations(task)]
    schedule_at, deadline = _parse_schedule(task), _parse_deadline(task)
    if schedule_at is not None and schedule_at > now + FARTHEST_SCHEDULE:
        rule = f"{schedule_at.isoformat()} is too far in the future, must be at most 720 h (30 days) ahead"
        violations.append(Violation("task.schedule_time", rule))
    if not SHORTEST_DEADLINE <= deadline <= LONGEST_DEADLINE:
        violations.append(Violation("task.dispatch_deadline", "must be from 15 s to 30 min"))
    if violations:
        raise InvalidArgument(violations)
    retry = parse_retry_rules("task.retry_config", task.retry_config) if task.HasField("retry_config") else None
    return NewTask(name, _with_method(task.http_request), schedule_at, deadline, retry)


def _parse_name(queue: QueueName, text: str) -> TaskName | None:
    if not text:
        return None
    name = parse_task_name("task.name", text)
    if queue_of(name) != queue:
        raise InvalidArgument.of("task.name", f"must lie in the queue of the request, {queue}")
    return name


def _parse_schedule(task: tasks_v2.Task) -> datetime | None:
    return parse_instant("task.schedule_time", task.schedule_time) if task.HasField("schedule_time") else None


def _parse_deadline(task: tasks_v2.Task) -> timedelta:
    """Cut to milliseconds."""
    if not task.HasField("dispatch_deadline"):
        return DEFAULT_DEADLINE
    millisecond = timedelta(milliseconds=1)
    return parse_duration("task.dispatch_deadline", task.dispatch_deadline) // millisecond * millisecond


def _size_violations(task: tasks_v2.Task) -> Iterator[Violation]:
    if task.ByteSize() > LARGEST_TASK_BYTES:
        yield Violation("task", f"must have at most {LARGEST_TASK_BYTES} bytes (100 KB), has {task.ByteSize()}")


def _http_violations(task: tasks_v2.Task) -> Iterator[Violation]:
    if not task.HasField("http_request"):
        yield Violation("task.http_request", "must be set")
        return
    http = task.http_request
    if rule := _broken_url_rule(http.url):
        yield Violation("task.http_request.url", rule)
    if http.http_method not in list(_HttpMethod):
        yield Violation("task.http_request.http_method", f"{http.http_method} is no method")
    elif http.body and (http.http_method or _HttpMethod.POST) not in _WITH_BODY:
        yield Violation("task.http_request.body", "is allowed with POST, PUT and PATCH only")
    yield from _header_violations(http.headers)
    yield from _authorization_violations(http)


def _broken_url_rule(url: str) -> str | None:
    if not url.startswith(("http://", "https://")):
        return "must begin with http:// or https://"
    if len(url) > LONGEST_URL:
        return f"must have at most {LONGEST_URL} characters"
    try:
        parts = urlsplit(url)
        has_host = bool(parts.hostname) and parts.port != 0  # the port is read only now
    except ValueError:
        has_host = False
    if not has_host or re.search(r"\s", url):
        return "must be a URL with a host"
    return None


def _header_violations(headers: Mapping[str, str]) -> Iterator[Violation]:
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name) or re.search(r"[\r\n\0]", value):
            yield Violation(f"task.http_request.headers[{name!r}]", "must be a header's name and a value of one line")
    if sum(len(name.encode()) + len(value.encode()) for name, value in headers.items()) >= LARGEST_HEADERS_BYTES:
        yield Violation("task.http_request.headers", f"must have less than {LARGEST_HEADERS_BYTES} bytes (80 KB)")


def _authorization_violations(http: tasks_v2.HttpRequest) -> Iterator[Violation]:
    for field in ("oidc_token", "oauth_token"):
        if http.HasField(field) and not _EMAIL.fullmatch(getattr(http, field).service_account_email):
            yield Violation(f"task.http_request.{field}.service_account_email", "must be an e-mail address")


def _with_method(given: tasks_v2.HttpRequest) -> tasks_v2.HttpRequest:
    http = HttpRequest()
    http.CopyFrom(given)
    http.http_method = _HttpMethod(http.http_method or _HttpMethod.POST)
    return http
