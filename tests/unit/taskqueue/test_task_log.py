"""What is told of tasks: every failure, some successes, all with the same fields and never a payload."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from google.protobuf.wrappers_pb2 import StringValue

from ostinato.clock import SystemClock
from ostinato.errors import RetryLater
from ostinato.taskqueue import Retry, TaskClass, TaskContext, TaskKind
from ostinato.taskqueue.embedded.lease import Lease
from ostinato.taskqueue.embedded.task_log import SAMPLE_EVERY, TaskLog
from ostinato.taskqueue.embedded.worker_stats import ClassStats
from ostinato.taskqueue.outcome import Outcome
from ostinato.taskqueue.task_header import TaskHeader
from tests.unit.taskqueue.test_executors import NOW

TRACE = "0af7651916cd43dd8448eb211c80319c"
MAIL = TaskClass("mail", StringValue, TaskKind.FOLLOWS_CONTEXT, "mails", retry=Retry())


class StillClock(SystemClock):
    def monotonic(self) -> float:
        return 100.0


@pytest.fixture
def log() -> TaskLog:
    return TaskLog(Lease(1, float("inf"), db_time_at_zero=NOW), StillClock())


def task(number: int = 7) -> TaskContext:
    header = TaskHeader(traceparent=f"00-{TRACE}-b7ad6b7169203331-01").encode()
    row: Any = (
        (0, number),
        number,
        576,
        NOW,
        None,
        0,
        1,
        2,
        0,
        0,
        header,
        StringValue(value="hush").SerializeToString(),
    )
    context = TaskContext(row, 1, MAIL)
    context.started_at = 98.0
    return context


def test_a_failure_is_one_line_with_the_tasks_fields(log: TaskLog, caplog: pytest.LogCaptureFixture) -> None:
    outcome = Outcome.of_error(ValueError("no"))
    log.retried(task(), outcome, delay=MAIL.retry.min_backoff)
    (record,) = caplog.records
    assert record.getMessage() == "task 7 (mail) failed, again in 0.1 s: ValueError: no"
    fields = ("task_id", "task_class", "queue", "attempt", "verdict", "late_ms", "duration_ms", "trace")
    assert [vars(record)[name] for name in fields] == [7, "mail", "mails", 2, "retry", 98000.0, 2000.0, TRACE]
    assert "hush" not in str(vars(record))


def test_what_a_handler_expects_is_told_at_debug(log: TaskLog, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        log.retried(
            task(), Outcome.of_error(RetryLater("soon", delay=MAIL.retry.min_backoff)), delay=MAIL.retry.min_backoff
        )
    assert [record.levelname for record in caplog.records] == ["DEBUG"]


def test_of_many_successes_one_in_ten_seconds_is_told(log: TaskLog, caplog: pytest.LogCaptureFixture) -> None:
    stats = ClassStats()
    with caplog.at_level(logging.INFO):
        log.done(task(), stats, 100.0)
        assert stats.tell_from == 100.0 + SAMPLE_EVERY
    assert [record.getMessage() for record in caplog.records] == ["task 7 (mail) done"]


def test_at_debug_every_success_is_told(log: TaskLog, caplog: pytest.LogCaptureFixture) -> None:
    stats = ClassStats()
    with caplog.at_level(logging.DEBUG):
        log.done(task(), stats, 100.0)
    assert stats.tell_from == 100.0
