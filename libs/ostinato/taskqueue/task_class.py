"""What a kind of task is: its payload type, where it waits and its retry policy.

One payload type belongs to one class. Classes are plain values, built once at module level of the program that
owns them; handlers are attached to a worker or receiver in `main`, never by import, and who only adds needs none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Generic, TypeVar

from google.protobuf.message import Message

from ostinato.taskqueue.priority import Priority

P = TypeVar("P", bound=Message)


class TaskKind(StrEnum):
    """Whether a task may, must or must not be added inside a transaction."""

    TRANSACTIONAL = "transactional"
    NON_TRANSACTIONAL = "non-transactional"
    FOLLOWS_CONTEXT = "follows-context"  # `tx` given or not, both are fine


class Backend(StrEnum):
    """Where tasks wait: in the dispatcher's own PostgreSQL, or in Google Cloud Tasks, which pushes them."""

    EMBEDDED = "embedded"
    CLOUD_TASKS = "cloud_tasks"


@dataclass(frozen=True, slots=True)
class Retry:
    """Cloud Tasks' meaning: `max_attempts` counts the first run, 0 means unlimited; backoff doubles
    `max_doublings` times from `min_backoff`, then grows linearly, and never exceeds `max_backoff`.

    After an error that passes by itself (`Transient`) it never exceeds `max_transient_backoff` where that is given: a
    database that was away for minutes is back in a moment, and then nothing should wait for minutes more.
    """

    max_attempts: int = 0
    min_backoff: timedelta = timedelta(milliseconds=100)
    max_backoff: timedelta = timedelta(hours=1)
    max_doublings: int = 16
    max_transient_backoff: timedelta | None = None


@dataclass(frozen=True, slots=True)
class QueuePicker(Generic[P]):
    """`pick` names one of `queues` for a payload. It is called at each add: it must be quick and change nothing."""

    queues: tuple[str, ...]
    pick: Callable[[P], str]


@dataclass(frozen=True, slots=True)
class CustomPayload:
    """What is sent instead of the usual request. It goes to the class's host with its token, but no receiver of ours
    can tell what to do with it. `relative_uri` begins with a slash.
    """

    relative_uri: str
    method: str = "POST"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class TaskClass(Generic[P]):
    """Exactly one of `queue` and `queue_picker`. `batch_size` > 1 only matters for handlers that take many at once."""

    name: str
    payload: type[P]
    kind: TaskKind
    queue: str = ""
    retry: Retry = Retry()
    # Between tasks of an embedded queue; a remote one has no bands.
    priority: Priority = Priority.NORMAL
    # At most this many handlers of the class run at once in one process (batch handlers: batches).
    max_running: int = 100
    batch_size: int = 500
    # A handler that runs longer is cancelled; the attempt counts as failed. A remote queue waits 30 min at most.
    deadline: timedelta = timedelta(minutes=10)
    # A task that killed its process this often in a row is a dead letter. 0: never; it is run alone, and ever later up
    # to five minutes. At least 3: the first two deaths are charged to all that the process held.
    max_crashes: int = 0
    queue_picker: QueuePicker[P] | None = None
    backend: Backend | None = None  # None: the dispatcher's
    # Of the URL that a remote queue pushes to; empty: the deployment's.
    routing_prefix: str = ""
    target_host: str = ""
    custom: Callable[[P], CustomPayload | None] | None = None  # None, or an answer None: the usual request
    quiet: bool = False  # log lines tell nothing of payloads
    quiet_on_error: bool = False  # failures of handlers are counted, not logged

    @property
    def queues(self) -> tuple[str, ...]:
        return (self.queue,) if self.queue_picker is None else self.queue_picker.queues
