"""Requests that add tasks: what is in them, and what is refused before anything is written."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.cloud import tasks_v2
from google.protobuf.duration_pb2 import Duration
from google.protobuf.wrappers_pb2 import BytesValue

from ostinato.config.cloud_tasks import CloudTasksSettings
from ostinato.errors import InvalidArgument
from ostinato.taskqueue.cloud_tasks.request_building import (
    Moment,
    RequestBuilder,
    dispatch_deadline,
    handler_deadline,
)
from ostinato.taskqueue.remote_queue import RemoteAdd
from ostinato.taskqueue.task_class import CustomPayload, QueuePicker, Retry, TaskClass, TaskKind
from ostinato.taskqueue.task_options import TaskOptions

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SETTINGS = CloudTasksSettings("p", "l", "https://engine.example", "push@p.example")
CLASS = TaskClass("test-dur", Duration, TaskKind.FOLLOWS_CONTEXT, "mail")
PAYLOAD = Duration(seconds=10)


def build(task_class: TaskClass[Any] = CLASS, payload: Any = PAYLOAD, name: str = "", **given: Any) -> Any:
    tasks = RemoteAdd(task_class, [payload], **given)
    built = RequestBuilder(SETTINGS).build(tasks, payload, name, Moment(NOW, "00-trace"))
    return tasks_v2.CreateTaskRequest(built)  # as the official client reads it


def test_a_plain_request() -> None:
    request = build()
    assert request.parent == "projects/p/locations/l/queues/mail"
    task, http = request.task, request.task.http_request
    assert (task.name, "schedule_time" in task) == ("", False)
    assert (http.url, http.http_method) == (
        "https://engine.example/internal/tasks/t/test-dur",
        tasks_v2.HttpMethod.POST,
    )
    assert json.loads(http.body) == {"class": "test-dur", "type": "google.protobuf.Duration", "body": "10s"}
    assert dict(http.headers) == {
        "Content-Type": "application/json",
        "Ostinato-Expected-Eta": "1767225600.000000",
        "traceparent": "00-trace",
    }
    assert (http.oidc_token.service_account_email, http.oidc_token.audience) == ("push@p.example", "")


def test_names_prefix_host_and_title() -> None:
    task_class = replace(CLASS, routing_prefix="/custom", target_host="other.example:8443")
    task = build(task_class, name="0" * 32, options=TaskOptions(title="a/b")).task
    assert task.name == "projects/p/locations/l/queues/mail/tasks/" + "0" * 32
    assert task.http_request.url == "https://other.example:8443/custom/test-dur/a/b"
    assert task.http_request.headers["Ostinato-Title"] == "a/b"


def test_a_full_queue_name_is_kept() -> None:
    queue = "projects/other/locations/there/queues/q"
    assert build(replace(CLASS, queue=queue)).parent == queue


@pytest.mark.parametrize(
    "given", [{"delay": timedelta(hours=1)}, {"eta": NOW + timedelta(hours=1)}], ids=["delay", "eta"]
)
def test_a_later_task_has_an_absolute_time(given: Any) -> None:
    task = build(**given).task
    assert task.schedule_time == NOW + timedelta(hours=1)
    assert task.http_request.headers["Ostinato-Expected-Eta"] == "1767229200.000000"


def test_a_task_has_its_own_backoff_and_the_receiver_counts_its_attempts() -> None:
    own = Retry(max_attempts=3, min_backoff=timedelta(seconds=7), max_backoff=timedelta(seconds=9), max_doublings=99)
    task = build(options=TaskOptions(retry=own)).task
    assert (task.retry_config.min_backoff, task.retry_config.max_backoff) == (own.min_backoff, own.max_backoff)
    assert (task.retry_config.max_attempts, task.retry_config.max_doublings) == (-1, 16)
    assert json.loads(task.http_request.headers["Ostinato-Retry"])["max_attempts"] == 3
    assert "retry_config" not in build().task


def test_no_delay_is_no_schedule() -> None:
    assert "schedule_time" not in build(delay=timedelta(0)).task


def test_a_picked_queue() -> None:
    picker: QueuePicker[Duration] = QueuePicker(("quick", "slow"), lambda each: "slow" if each.seconds > 5 else "quick")
    task_class = replace(CLASS, queue="", queue_picker=picker)
    assert build(task_class).parent.endswith("/slow")
    assert build(task_class, Duration(seconds=1)).parent.endswith("/quick")
    strange = replace(task_class, queue_picker=replace(picker, pick=lambda _: "elsewhere"))
    with pytest.raises(InvalidArgument, match="queue: `elsewhere` is none of those"):
        build(strange)


def test_a_custom_request_keeps_host_token_and_times() -> None:
    custom = CustomPayload("/hook?x=1", "PUT", {"X-Own": "yes"}, b"body")
    http = build(replace(CLASS, custom=lambda _: custom)).task.http_request
    assert (http.url, http.http_method) == ("https://engine.example/hook?x=1", tasks_v2.HttpMethod.PUT)
    assert dict(http.headers) == {
        "X-Own": "yes",
        "Ostinato-Expected-Eta": "1767225600.000000",
        "traceparent": "00-trace",
    }
    assert http.body == b"body"
    assert http.oidc_token.service_account_email == "push@p.example"


def test_a_class_may_decide_for_the_usual_request() -> None:
    assert build(replace(CLASS, custom=lambda _: None)) == build()


def custom_of(**fields: Any) -> TaskClass[Any]:
    payload = CustomPayload(**{"relative_uri": "/", **fields})
    return replace(CLASS, custom=lambda _: payload)


@pytest.mark.parametrize(
    ("task_class", "given", "refusal"),
    [
        (CLASS, {"eta": NOW + timedelta(days=30, seconds=1)}, "eta: must be at most 30 days ahead"),
        (CLASS, {"delay": timedelta(days=31)}, "delay: must be at most 30 days ahead"),
        (CLASS, {"delay": timedelta(1), "eta": NOW}, "delay: give a delay or an eta, not both"),
        (CLASS, {"delay": timedelta(-1)}, "delay: must not be negative"),
        (CLASS, {"eta": datetime(2026, 1, 1)}, "eta: must be an aware datetime"),
        (CLASS, {"options": TaskOptions(title="a b")}, "options.title: must be characters of a URL"),
        (CLASS, {"options": TaskOptions(title="a?b")}, "options.title: must be characters of a URL"),
        (CLASS, {"options": TaskOptions(title="../x")}, "options.title: must be characters of a URL"),
        (CLASS, {"options": TaskOptions(title="x" * 2036)}, "options.title: makes a URL that is longer than 2083"),
        (CLASS, {"options": TaskOptions(name_prefix="a")}, "options.name_prefix: means nothing without a dedup key"),
        (
            CLASS,
            {"options": TaskOptions(here=True), "dedup_keys": ["a"]},
            "options.here: must not be said with a dedup",
        ),
        (CLASS, {"options": TaskOptions(retry=Retry(max_attempts=-1))}, "options.retry.max_attempts: must not be neg"),
        (custom_of(method="BREW"), {}, "custom.method: must be one of POST, GET"),
        (custom_of(method="GET", body=b"x"), {}, "custom.body: must be empty unless the method is one of POST"),
        (custom_of(method="DELETE", body=b"x"), {}, "custom.body: must be empty"),
        (custom_of(relative_uri=""), {}, "custom.relative_uri: must be a path that begins with a slash"),
        (custom_of(relative_uri="x"), {}, "custom.relative_uri: must be a path"),
        (custom_of(relative_uri="/a b"), {}, "custom.relative_uri: must be a path"),
        (custom_of(relative_uri="/%zz"), {}, "custom.relative_uri: must be a path"),
        (custom_of(relative_uri="/" + "x" * 2083), {}, "custom.relative_uri: makes a URL that is longer than 2083"),
        (custom_of(headers={"a b": "x"}), {}, r"custom.headers\[a b\]: must be a token"),
        (custom_of(headers={"a": "x\r\nb: c"}), {}, r"custom.headers\[a\]: must be a token"),
        (custom_of(headers={"X-CloudTasks-TaskName": "x"}), {}, "is not the caller's to set"),
        (custom_of(headers={"authorization": "x"}), {}, "is not the caller's to set"),
        (custom_of(headers={f"X-{n}": "x" * 1000 for n in range(82)}), {}, "custom.headers: must have at most 81919"),
        (custom_of(body=b"x" * 102_400), {}, "payload: makes a task of 1025.. bytes"),
    ],
)
def test_what_could_never_be_submitted_is_refused(task_class: TaskClass[Any], given: Any, refusal: str) -> None:
    with pytest.raises(InvalidArgument, match=refusal):
        build(task_class, **given)


def test_a_payload_of_another_class_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="payload: `test-dur` takes Duration"):
        build(CLASS, BytesValue())


def test_the_limits_themselves_are_allowed() -> None:
    build(eta=NOW + timedelta(days=30))
    size = tasks_v2.Task.pb(build(custom_of(body=b"")).task).ByteSize()
    room = 102_400 - size - 4  # tag and length of the body, one byte more in the length of what holds it
    task = build(custom_of(body=b"x" * (room - 2))).task
    assert 102_300 < tasks_v2.Task.pb(task).ByteSize() <= 102_400
    longest = 2083 - len("https://engine.example/internal/tasks/t/test-dur/")
    assert len(build(options=TaskOptions(title="x" * longest)).task.http_request.url) == 2083


@pytest.mark.parametrize(
    ("deadline", "dispatch", "handler"),
    [
        (timedelta(seconds=1), timedelta(seconds=15), timedelta(seconds=1)),
        (timedelta(minutes=10), timedelta(minutes=10, seconds=5), timedelta(minutes=10)),
        (timedelta(days=8), timedelta(minutes=30), timedelta(minutes=29, seconds=55)),
    ],
)
def test_a_handler_ends_before_its_request_is_given_up(
    deadline: timedelta, dispatch: timedelta, handler: timedelta
) -> None:
    task_class = replace(CLASS, deadline=deadline)
    assert (dispatch_deadline(task_class), handler_deadline(task_class)) == (dispatch, handler)
    assert build(task_class).task.dispatch_deadline == dispatch
