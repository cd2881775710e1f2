"""What hands reminders over asks of a remote queue: one request, one verdict. It needs no code of the task's class."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class SubmitVerdict(StrEnum):
    """What an answer means for the reminder."""

    DONE = "DONE"  # the queue has the task, from now on or since before: the reminder may go
    KEEP = "KEEP"  # it may have it or not, or has no room now: the next sweep asks again
    REFUSED = "REFUSED"  # asking again is probably useless: with growing spacing for an hour, then it is parked


@dataclass(frozen=True, slots=True)
class SubmitResult:
    """`code` is the name of the gRPC status, `error` its text, empty if all is well."""

    verdict: SubmitVerdict
    code: str
    error: str = ""


class ReminderSubmitter(Protocol):
    async def submit(self, request: bytes) -> SubmitResult:
        """`request`: a serialized `google.cloud.tasks.v2.CreateTaskRequest`. Raises nothing but CancelledError.

        The task's name is part of the request, so that asking twice adds one task.
        """
        ...
