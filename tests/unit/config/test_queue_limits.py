"""Limits of queues in one variable: what is read, and what is refused by which rule."""

from __future__ import annotations

import pytest

from ostinato.config.environment import EnvironmentReader, InvalidSettings
from ostinato.config.queue_limits import ENGINE_QUEUES, QueueLimits, read_queue_limits
from ostinato.jobflow.engine_tasks import ENGINE_TASK_CLASSES
from ostinato.taskqueue import QueueSettings
from ostinato_engine.queue_settings import queue_settings

VARIABLE = "OSTINATO_ENGINE_QUEUE_LIMITS"


def read(text: str) -> tuple[QueueLimits, ...]:
    reader = EnvironmentReader({VARIABLE: text})
    limits = read_queue_limits(reader, VARIABLE)
    reader.finish()
    return limits


def test_limits_are_read_in_any_order_and_spacing() -> None:
    assert read(" launches :rate=50   burst=100 concurrent=200;triages: concurrent=4 ; ") == (
        QueueLimits("launches", rate=50, burst=100, concurrent=200),
        QueueLimits("triages", concurrent=4),
    )
    assert read("timers: rate=0.5") == (QueueLimits("timers", rate=0.5),)
    assert read("") == ()


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("launches", "must look like"),
        ("launches:", "must look like"),
        (": rate=5", "must look like"),
        ("launches: rate 5", "must look like"),
        ("launchs: rate=5", "names no queue of the engine: these are launches, notifications, timers, triages"),
        ("launches: speed=5", "knows the limits rate, burst, concurrent only"),
        ("launches: rate=0", "rate must be a number from 0.001 to 100000"),
        ("launches: rate=1e3", "rate must be a number"),
        ("launches: rate=-1", "rate must be a number"),
        ("launches: rate=nan", "rate must be a number"),
        ("launches: rate=100001", "rate must be a number from 0.001 to 100000"),
        ("launches: rate=1 burst=0", "burst must be a whole number from 1 to 100000"),
        ("launches: rate=1 burst=1.5", "burst must be a whole number"),
        ("launches: burst=5", "burst means nothing without rate"),
        ("launches: concurrent=0", "concurrent must be a whole number from 1 to 100000"),
        ("launches: concurrent=５", "concurrent must be a whole number"),
        ("launches: rate=1 rate=2", "names a limit twice"),
        ("launches: rate=1; launches: rate=2", "names the queue launches twice"),
    ],
)
def test_a_mistake_is_refused_with_the_variable_and_the_rule(text: str, rule: str) -> None:
    with pytest.raises(InvalidSettings) as caught:
        read(text)
    assert [violation.path for violation in caught.value.violations] == [VARIABLE]
    assert rule in caught.value.violations[0].rule


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(InvalidSettings) as caught:
        read("nowhere: rate=0 burst=0; triages: concurrent=x; timers: rate=1")
    assert len(caught.value.violations) == 4


def test_every_queue_of_the_engine_can_be_named() -> None:
    assert set(ENGINE_QUEUES) == {task_class.queue for task_class in ENGINE_TASK_CLASSES}


def test_a_limit_is_shown_as_it_is_written() -> None:
    (limits,) = read("launches: rate=2.5 burst=100 concurrent=200")
    assert str(limits) == "launches: rate=2.5 burst=100 concurrent=200"
    assert read(str(limits)) == (limits,)


def test_queues_that_are_not_named_lose_their_limits() -> None:
    assert queue_settings(read("triages: concurrent=4")) == [
        QueueSettings("launches"),
        QueueSettings("notifications"),
        QueueSettings("timers"),
        QueueSettings("triages", max_concurrent=4),
    ]
