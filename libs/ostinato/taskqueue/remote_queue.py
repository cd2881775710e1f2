"""What a dispatcher asks of a queue that is another system."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

from google.protobuf.message import Message

from ostinato.storage.transaction import Tx
from ostinato.taskqueue.queue_settings import QueueSettings
from ostinato.taskqueue.task_class import TaskClass
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


class RemoteQueue(Protocol):
    async def prepare(self, classes: Sequence[TaskClass[Any]], queues: Sequence[QueueSettings]) -> None:
        """Once, before anything is added: the queues of these classes are there afterwards. May be repeated."""
        ...

    async def add(self, tasks: RemoteAdd, tx: Tx | None) -> list[int | None]:
        """A number for each task, None where its key was taken. With `tx` they are delivered if and only if it commits.

        Raises InvalidArgument, before anything is written, for whatever could not be submitted later.
        """
        ...

    async def add_requests(self, tx: Tx, task_class: str, queue: str, bodies: Sequence[bytes]) -> None:
        """Sends bodies of requests again as they once came, with `tx`."""
        ...

    async def delete(self, task_class: TaskClass[Any], dedup_keys: Sequence[str], name_prefix: str) -> int:
        """Deletes tasks by their keys, returns how many were there."""
        ...
