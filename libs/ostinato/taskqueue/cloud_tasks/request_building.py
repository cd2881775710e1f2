"""Builds the request that adds a task to Cloud Tasks. Whatever could make it fail for good is refused here."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from google.cloud import tasks_v2
from google.protobuf.message import Message

from ostinato.config.cloud_tasks import CloudTasksSettings
from ostinato.errors import InvalidArgument
from ostinato.taskqueue.add_rules import due_time_violations, type_violations
from ostinato.taskqueue.cloud_tasks.envelope import encode_envelope
from ostinato.taskqueue.cloud_tasks.plain_messages import CreateTaskRequest, HttpRequest, OidcToken, Task
from ostinato.taskqueue.cloud_tasks.remote_names import queue_path
from ostinato.taskqueue.cloud_tasks.request_rules import (
    METHODS,
    custom_violations,
    eta_violations,
    header_size_violations,
    size_violations,
)
from ostinato.taskqueue.cloud_tasks.retry_config import retry_config_of
from ostinato.taskqueue.cloud_tasks.task_headers import task_headers
from ostinato.taskqueue.remote_queue import RemoteAdd
from ostinato.taskqueue.task_class import CustomPayload, TaskClass
from ostinato.taskqueue.task_making import picked_queue
from ostinato.taskqueue.task_options import TaskOptions, option_violations, task_path

_SHORTEST_DISPATCH, _LONGEST_DISPATCH = timedelta(seconds=15), timedelta(minutes=30)
_TO_ANSWER = timedelta(seconds=5)
_METHODS: dict[str, tasks_v2.HttpMethod] = {name: getattr(tasks_v2.HttpMethod, name) for name in METHODS}
_PLAIN = TaskOptions()
_JSON = {"Content-Type": "application/json"}


def dispatch_deadline(task_class: TaskClass[Any]) -> timedelta:
    """How long Cloud Tasks waits for an answer before it takes the attempt for failed."""
    return min(_LONGEST_DISPATCH, max(_SHORTEST_DISPATCH, task_class.deadline + _TO_ANSWER))


def handler_deadline(task_class: TaskClass[Any]) -> timedelta:
    """How long its handler may run here, so that it never runs beside the next attempt."""
    return min(task_class.deadline, dispatch_deadline(task_class) - _TO_ANSWER)


@dataclass(frozen=True, slots=True)
class Moment:
    """When tasks are added, and by which trace.

    `counts_from`: what delays count from, where that is another clock's now: the database's, of a transaction.
    """

    now: datetime
    traceparent: str | None = None
    counts_from: datetime | None = None


class RequestBuilder:
    def __init__(self, settings: CloudTasksSettings) -> None:
        self._settings = settings
        self._scheme, _, self._host = settings.target_url.partition("://")

    def build(self, tasks: RemoteAdd, payload: Message, name: str, moment: Moment) -> tasks_v2.CreateTaskRequest:
        """`name` is the last part of the task's, empty: Cloud Tasks gives it one. Raises InvalidArgument."""
        task_class, options = tasks.task_class, tasks.options
        url = self._url(task_class, task_path(self._prefix(task_class), task_class.name, options.title))
        violations = [
            *due_time_violations(tasks.delay, tasks.eta),
            *type_violations(task_class, [payload]),
            *option_violations(options, has_dedup_key=tasks.dedup_keys is not None, url=url),
        ]
        if violations:
            raise InvalidArgument(violations)
        now = moment.counts_from or moment.now
        due = _due(tasks, now)
        custom = task_class.custom(payload) if task_class.custom is not None else None
        if violations := [
            *(eta_violations(due, now, "eta" if tasks.eta else "delay") if due is not None else ()),
            *(custom_violations(custom, self._url(task_class, custom.relative_uri)) if custom is not None else ()),
        ]:
            raise InvalidArgument(violations)
        headers = task_headers(eta=due or moment.now, traceparent=moment.traceparent, options=options)
        http = self._usual(url, task_class, payload) if custom is None else self._custom(task_class, custom)
        for header, value in headers.items():
            http.headers[header] = value
        request = self._request(task_class, picked_queue(task_class, payload), name, http, due)
        if options.retry is not None:
            request.task.retry_config.CopyFrom(tasks_v2.RetryConfig.pb(retry_config_of([options.retry])))
        return _checked(request)

    def rebuild(
        self, task_class: str, queue: str, name: str, body: bytes, moment: Moment
    ) -> tasks_v2.CreateTaskRequest:
        """Of the body of a request that nobody here could decode, whose class perhaps nobody knows."""
        headers = task_headers(eta=moment.now, traceparent=None, options=_PLAIN)
        url = f"{self._settings.target_url}{task_path(self._settings.routing_prefix, task_class, '')}"
        http = HttpRequest(
            url=url,
            http_method=tasks_v2.HttpMethod.POST,
            headers={**_JSON, **headers},
            body=body,
            oidc_token=self._token,
        )
        path = self.queue_path(queue)
        task = Task(name=f"{path}/tasks/{name}", http_request=http)
        return _checked(CreateTaskRequest(parent=path, task=task))

    def queue_path(self, queue: str) -> str:
        return queue_path(self._settings.project, self._settings.location, queue)

    def _request(
        self,
        task_class: TaskClass[Any],
        queue: str,
        name: str,
        http: tasks_v2.HttpRequest,
        due: datetime | None,
    ) -> tasks_v2.CreateTaskRequest:
        path = self.queue_path(queue)
        task = Task(
            name=f"{path}/tasks/{name}" if name else "",
            http_request=http,
        )
        task.dispatch_deadline.seconds = int(dispatch_deadline(task_class).total_seconds())
        if due is not None:
            task.schedule_time.FromDatetime(due)
        return CreateTaskRequest(parent=path, task=task)

    def _usual(self, url: str, task_class: TaskClass[Any], payload: Message) -> tasks_v2.HttpRequest:
        return HttpRequest(
            url=url,
            http_method=tasks_v2.HttpMethod.POST,
            headers=_JSON,
            body=encode_envelope(task_class.name, payload),
            oidc_token=self._token,
        )

    def _custom(self, task_class: TaskClass[Any], custom: CustomPayload) -> tasks_v2.HttpRequest:
        return HttpRequest(
            url=self._url(task_class, custom.relative_uri),
            http_method=_METHODS[custom.method],
            headers=dict(custom.headers),
            body=custom.body,
            oidc_token=self._token,
        )

    @property
    def _token(self) -> tasks_v2.OidcToken:
        """Without an audience of its own: that is the URL then."""
        return OidcToken(service_account_email=self._settings.push_as)

    def _prefix(self, task_class: TaskClass[Any]) -> str:
        return task_class.routing_prefix or self._settings.routing_prefix

    def _url(self, task_class: TaskClass[Any], path: str) -> str:
        return f"{self._scheme}://{task_class.target_host or self._host}{path}"


def _due(tasks: RemoteAdd, now: datetime) -> datetime | None:
    """A delay is fixed to an absolute time when it is added: a late submit puts nothing off."""
    if tasks.eta is not None:
        return tasks.eta
    return now + tasks.delay if tasks.delay else None


def _checked(request: tasks_v2.CreateTaskRequest) -> tasks_v2.CreateTaskRequest:
    if violations := [
        *size_violations(request.task.ByteSize()),
        *header_size_violations(request.task.http_request.headers),
    ]:
        raise InvalidArgument(violations)
    return request
