"""Task classes and options: what is refused, and how the rare things travel with a task."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.wrappers_pb2 import Int64Value

from ostinato.errors import InvalidArgument
from ostinato.taskqueue import Backend, CustomPayload, QueuePicker, Retry, TaskClass, TaskKind
from ostinato.taskqueue.class_rules import check_classes
from ostinato.taskqueue.retry_text import encode_retry, parse_retry
from ostinato.taskqueue.task_header import EMPTY_HEADER, TaskHeader, decode_header

CLASS = TaskClass("mail", Duration, TaskKind.FOLLOWS_CONTEXT, "mail")
REMOTE = Backend.CLOUD_TASKS
PICKER: QueuePicker[Any] = QueuePicker(("a", "b"), lambda _: "a")


@pytest.mark.parametrize(
    ("fields", "refusal"),
    [
        ({"name": ""}, "classes.name: must be 1 to 100 letters"),
        ({"name": "a b"}, r"classes\[a b\].name: must be 1 to 100 letters"),
        ({"name": "x" * 101}, "name: must be 1 to 100 letters"),
        ({"payload": dict}, "payload: must be a class of protobuf messages"),
        ({"kind": 0}, "kind: must be one of TaskKind"),
        ({"queue": ""}, "queue: must be given, or a queue_picker"),
        ({"queue": "a/b"}, "queue: must be 1 to 100 characters without spaces or slashes"),
        ({"queue_picker": PICKER}, "queue_picker: must not be given together with a queue"),
        ({"queue": "", "queue_picker": QueuePicker((), PICKER.pick)}, "queue_picker.queues: must name at least one"),
        ({"queue": "a_b", "backend": REMOTE}, "queue: must be 1 to 100 letters, digits or `-`"),
        ({"queue": "projects/p/queues/q", "backend": REMOTE}, "queue: must be 1 to 100 letters, digits or `-`"),
        ({"queue": "projects//locations/l/queues/q", "backend": REMOTE}, "queue: must be 1 to 100 letters"),
        ({"routing_prefix": "tasks"}, "routing_prefix: must be a path that begins with a slash"),
        ({"routing_prefix": "/a?b"}, "routing_prefix: must be a path that begins with a slash"),
        ({"target_host": "https://x.example"}, "target_host: must be HOST or HOST:PORT"),
        ({"target_host": "x.example:70000"}, "target_host: must be HOST or HOST:PORT"),
        ({"target_host": "[::1:2:]"}, "target_host: must be HOST or HOST:PORT"),
        ({"custom": lambda _: CustomPayload("/")}, "custom: means nothing on the embedded queue"),
        ({"retry": Retry(max_attempts=-1)}, "retry.max_attempts: must not be negative"),
        ({"retry": Retry(min_backoff=timedelta(hours=2))}, "retry.max_backoff: must not be shorter than min_backoff"),
        ({"max_running": 0}, "max_running: must be at least 1"),
        ({"batch_size": 0}, "batch_size: must be at least 1"),
        ({"deadline": timedelta(0)}, "deadline: must be positive"),
        ({"max_crashes": 2}, "max_crashes: must be 0, or from 3"),
    ],
)
def test_a_class_that_breaks_a_rule_is_refused_by_field_and_rule(fields: dict[str, Any], refusal: str) -> None:
    with pytest.raises(InvalidArgument, match=refusal):
        check_classes([replace(CLASS, **fields)])


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"queue": "", "queue_picker": PICKER},
        {"queue": "projects/p/locations/l/queues/q", "backend": REMOTE},
        {"routing_prefix": "/", "target_host": "[::1]:8080"},
        {"custom": lambda _: None, "backend": REMOTE},
    ],
)
def test_what_keeps_all_rules_is_accepted(fields: dict[str, Any]) -> None:
    check_classes([replace(CLASS, **fields), TaskClass("other", Int64Value, TaskKind.TRANSACTIONAL, "q")])


def test_the_default_backend_counts_where_none_is_pinned() -> None:
    with pytest.raises(InvalidArgument, match="queue: must be 1 to 100 letters"):
        check_classes([replace(CLASS, queue="a_b")], REMOTE)
    check_classes([replace(CLASS, queue="a_b", backend=Backend.EMBEDDED)], REMOTE)


def test_every_mistake_is_told_at_once() -> None:
    with pytest.raises(InvalidArgument) as caught:
        check_classes([replace(CLASS, queue="", deadline=timedelta(0)), CLASS])
    assert [violation.path for violation in caught.value.violations] == [
        "classes[mail].deadline",
        "classes[mail].queue",
        "classes",
        "classes",
    ]


@pytest.mark.parametrize(
    "header",
    [
        EMPTY_HEADER,
        TaskHeader(traceparent="00-x"),
        TaskHeader(refused_since=datetime(2026, 1, 1, tzinfo=UTC)),
        TaskHeader(title="a", retry=Retry(max_attempts=4, max_transient_backoff=timedelta(seconds=1))),
        TaskHeader(is_request=True),
    ],
)
def test_a_header_is_read_as_it_was_written(header: TaskHeader) -> None:
    assert decode_header(header.encode()) == header


def test_a_retry_policy_travels_as_text() -> None:
    for retry in (Retry(), Retry(7, timedelta(microseconds=1), timedelta(days=1), 0, timedelta(0))):
        assert parse_retry(encode_retry(retry)) == retry
    assert parse_retry('{"max_attempts":2,"max_doublings":1,"moon":1}') == Retry(2, max_doublings=1)
    for text in ("", "{}", "[]", "7", '{"max_attempts":null,"max_doublings":1}', "[" * 100_000):
        assert parse_retry(text) is None
