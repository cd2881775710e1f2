"""What a dispatcher asks of a queue that is another system."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

from google.protobuf.message import Message

from ostinato.storage.transaction import Tx
from ostinato.taskqueue.queue_settings import QueueSettings
from ostinato.taskqueue.task_class import P, TaskClass
from ostinato.taskqueue.task_options import TaskOptions


@dataclass(frozen=True, slots=True)
class RemoteAdd:
    """Tasks of one class, alike but for payload and key. The kind was checked, nothing else."""

    task_class: TaskClass[Any]
    payloads: Sequence[Message]
    dedup_keys: Sequence[str] | None = None
    delay: timedelta | None = None
    eta: datetime | None = None
    options: TaskOptions = field(default_factory=TaskOptions)
    namespace: str = ""  # of the keys; empty: the remote queue's own


@dataclass(frozen=True, slots=True)
class WaitingTasks:
    """Tasks of one class that the remote queue, or a reminder, has: their numbers and their encoded payloads."""

    numbers: frozenset[int]
    payloads: frozenset[bytes]


@dataclass(frozen=True, slots=True)
class RemoteDepth:
    """Of one queue. `waiting`: added there and not done, counted up to a bound; None while nobody tells.

    `reminders`: committed and not added there yet, of as many as were looked at.
    """

    waiting: int | None
    reminders: int
    is_paused: bool


class RemoteQueue(Protocol):
    async def prepare(self, classes: Sequence[TaskClass[Any]], queues: Sequence[QueueSettings]) -> None:
        """Once, before anything is added: the queues of these classes are created or verified. May be repeated."""
        ...

    async def add(self, tasks: RemoteAdd, tx: Tx | None) -> list[int | None]:
        """A number for each task, None where its key was taken. With `tx` they are delivered if and only if it commits.

        Raises InvalidArgument, before anything is written, for whatever could not be submitted later.
        """
        ...

    async def add_requests(self, tx: Tx, task_class: str, queue: str, bodies: Sequence[bytes]) -> None:
        """Sends bodies of requests again as they once came, with `tx`."""
        ...

    async def delete(
        self, task_class: TaskClass[Any], dedup_keys: Sequence[str], name_prefix: str, *, namespace: str = ""
    ) -> int:
        """Deletes tasks by their keys, returns how many were there."""
        ...

    async def waiting(self, task_class: TaskClass[Any]) -> WaitingTasks | None:
        """None: it can't be told, because there is too much of it or nobody answers. Reads it all: rarely, please.

        A task that was added before this is asked, and is not found, has ended or is lost.
        """
        ...

    async def are_reminders_late(self, tx: Tx, task_class: TaskClass[Any], *, by: timedelta) -> bool:
        """Whether a task of the class was committed that long ago and is not there yet, or it can't be told.

        Parked ones do not count.
        """
        ...

    async def reminded(self, tx: Tx, task_class: TaskClass[P], mentioning: Collection[int]) -> list[P]:
        """Payloads of the class that are committed and not there yet, nor parked, with all that mention one of these.

        Looks through all reminders: rarely, please.
        """
        ...

    async def pause(self, queue: str) -> None:
        """Nothing of it starts from now on; what runs, runs on. May be repeated, as may its siblings."""
        ...

    async def resume(self, queue: str) -> None: ...

    async def purge(self, queue: str) -> int:
        """Deletes what waits there, and what was committed and is not there yet: returns how many of the latter.

        What is just being added there may be left.
        """
        ...

    async def depths(self, queues: Sequence[str]) -> Mapping[str, RemoteDepth]:
        """By queue; asks for lists, so for people only. Raises errors of the database."""
        ...
