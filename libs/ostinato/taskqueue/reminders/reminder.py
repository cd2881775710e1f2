"""A reminder: what a transaction stores so that its task reaches a remote queue, whatever happens after the commit."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from google.protobuf.message import DecodeError

from ostinato.pb.taskqueue.v1.reminder_pb2 import Reminder

# A reminder is left to whoever wrote it for so long; then sweeps take it.
LONGEST_FRESH = timedelta(minutes=1)
UNKNOWN = "unknown"  # the class of a reminder that can't be read


@dataclass(frozen=True, slots=True)
class NewReminder:
    """`payload` is what `encode_reminder` made; `time_left` of the caller's deadline, None without one."""

    id: UUID
    payload: bytes
    time_left: timedelta | None = None

    @property
    def fresh_for(self) -> timedelta:
        return LONGEST_FRESH if self.time_left is None else min(LONGEST_FRESH, self.time_left)


def new_reminder_id() -> UUID:
    """Sixteen random bytes, no fewer: sweeps share out the ids by their size. Its `hex` ends the name of the task."""
    return UUID(bytes=secrets.token_bytes(16))


def encode_reminder(*, task_class: str, queue: str, created: datetime, request: bytes) -> bytes:
    """`request` is complete and serialized, with the task's name in it."""
    reminder = Reminder(task_class=task_class, queue=queue, create_task_request=request)
    reminder.created.FromDatetime(created)
    return reminder.SerializeToString()


def beginning_of(task_class: str) -> bytes:
    """How each reminder of that class begins, and none of another: the class is its first field."""
    return Reminder(task_class=task_class).SerializeToString()


def decode_reminder(payload: bytes) -> Reminder | None:
    """None for what is no reminder, or has no request in it."""
    try:
        reminder = Reminder.FromString(payload)
    except DecodeError:
        return None
    return reminder if reminder.create_task_request else None
