"""What is asked of queues."""

from __future__ import annotations

from datetime import timedelta

import pytest
from google.cloud import tasks_v2
from google.protobuf.duration_pb2 import Duration

from ostinato.taskqueue.cloud_tasks.queue_preparation import changes_of, wanted_queue
from ostinato.taskqueue.queue_settings import QueueSettings
from ostinato.taskqueue.task_class import Retry, TaskClass, TaskKind

PATH = "projects/p/locations/l/queues/mail"
QUICK = Retry(max_attempts=3, min_backoff=timedelta(milliseconds=10), max_backoff=timedelta(seconds=1))
CLASSES = [
    TaskClass("a", Duration, TaskKind.FOLLOWS_CONTEXT, "mail", QUICK),
    TaskClass("b", Duration, TaskKind.FOLLOWS_CONTEXT, "mail", Retry(max_backoff=timedelta(hours=2))),
]


def test_attempts_are_unlimited_and_backoffs_wide_enough_for_all_classes() -> None:
    queue = wanted_queue(PATH, CLASSES, None)
    assert queue.retry_config.max_attempts == -1
    assert queue.retry_config.min_backoff == timedelta(milliseconds=100)
    assert queue.retry_config.max_backoff == timedelta(hours=2)
    assert "rate_limits" not in queue


def test_limits_are_passed_on_as_far_as_cloud_tasks_goes() -> None:
    limits = wanted_queue(PATH, CLASSES, QueueSettings("mail", max_rate=20, max_concurrent=100_000)).rate_limits
    assert (limits.max_dispatches_per_second, limits.max_concurrent_dispatches) == (20, 5000)


@pytest.mark.parametrize(
    ("found", "paths"),
    [
        ({"max_attempts": -1}, []),
        ({"max_attempts": 100}, ["retry_config.max_attempts"]),
        ({"max_attempts": -1, "max_retry_duration": Duration(seconds=60)}, ["retry_config.max_retry_duration"]),
        ({"max_attempts": -1, "max_backoff": Duration(seconds=60)}, []),
    ],
)
def test_a_queue_that_gives_up_is_changed(found: dict[str, object], paths: list[str]) -> None:
    queue = tasks_v2.Queue(name=PATH, retry_config=tasks_v2.RetryConfig(**found))
    assert changes_of(queue, wanted_queue(PATH, CLASSES, None), limits_given=False) == paths


def test_limits_are_changed_only_where_they_are_given() -> None:
    wanted = wanted_queue(PATH, CLASSES, QueueSettings("mail", max_rate=20))
    found = tasks_v2.Queue(name=PATH, retry_config=tasks_v2.RetryConfig(max_attempts=-1))
    assert changes_of(found, wanted, limits_given=False) == []
    assert len(changes_of(found, wanted, limits_given=True)) == 2
    assert changes_of(wanted, wanted, limits_given=True) == []
