"""Each kind of task has its message, its class, its queue, its handler and its test."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest

from ostinato.jobflow.engine_tasks import ENGINE_TASK_CLASSES
from ostinato.pb.internal.v1 import engine_tasks_pb2
from ostinato.taskqueue import TaskClass
from ostinato_engine.task_handlers import task_handlers
from tests.architecture.source_tree import project_files, read

MESSAGES = sorted(engine_tasks_pb2.DESCRIPTOR.message_types_by_name)


def words(message: str) -> str:
    """`TriageJobTask` → `triage_job`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", message.removesuffix("Task")).lower()


def named_after(phrase: str) -> list[str]:
    """A test of `triage_job` may be named after several jobs."""
    return [name for name in project_files() if re.fullmatch(rf"tests/.*/test_{phrase}s?(_\w+)?\.py", name)]


class Anything:
    """Has every method that a table of handlers may point to."""

    def __getattr__(self, name: str) -> object:
        return lambda *_: name


def handled() -> list[str]:
    """Names of the task classes in the engine's table of handlers."""
    stand_ins: list[Any] = [Anything() for _ in inspect.signature(task_handlers).parameters]
    return sorted(handler.task_class.name for handler in task_handlers(*stand_ins))


def test_every_task_class_has_one_handler() -> None:
    assert handled() == sorted(task_class.name for task_class in ENGINE_TASK_CLASSES)


def test_every_message_is_the_payload_of_one_class() -> None:
    assert sorted(task_class.payload.DESCRIPTOR.name for task_class in ENGINE_TASK_CLASSES) == MESSAGES


@pytest.mark.parametrize("task_class", ENGINE_TASK_CLASSES, ids=lambda task_class: task_class.name)
def test_one_phrase_names_the_message_the_class_and_the_test(task_class: TaskClass[Any]) -> None:
    phrase = words(task_class.payload.DESCRIPTOR.name)
    assert task_class.name == phrase.replace("_", "-")
    assert named_after(phrase)


@pytest.mark.parametrize("task_class", ENGINE_TASK_CLASSES, ids=lambda task_class: task_class.name)
def test_the_message_says_which_queue_it_waits_in(task_class: TaskClass[Any]) -> None:
    proto = read("protos/ostinato/internal/v1/engine_tasks.proto")
    comment = re.search(rf"((?://[^\n]*\n)+)message {task_class.payload.DESCRIPTOR.name} ", proto)
    assert comment
    assert f"`{task_class.queue}`" in comment[1]


def test_a_task_without_a_test_is_found() -> None:
    assert words("LaunchInvocationTask") == "launch_invocation"
    assert named_after("brew_coffee") == []
