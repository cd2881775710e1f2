"""What a target is given and what it answers.

A launch may happen again after a crash: whatever a target does outside must be keyed by the invocation's name.
An answer, even an error, is the run's result; only what the target raises is a failure on our side, which is
retried.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol, TypeVar

from ostinato.jobflow.finish_invocations import RunError
from ostinato.pb.scheduler.v1.triggers_pb2 import Trigger
from ostinato.scheduling.invocation import InvocationStatus
from ostinato.scheduling.invocation_id import InvocationId

Spec_contra = TypeVar("Spec_contra", contravariant=True)


@dataclass(frozen=True, slots=True)
class Run:
    """One launch attempt of an invocation."""

    id: InvocationId
    job_id: int
    name: str  # projects/p/jobs/j/invocations/i
    attempt: int  # of the run, by its retry policy; launches repeated on our side don't count
    scheduled_for: datetime | None
    timeout: timedelta  # of the whole run


@dataclass(frozen=True, slots=True)
class LaunchResult:
    """RUNNING or a final status, and what goes with it."""

    status: InvocationStatus
    error: RunError | None = None
    view_url: str | None = None
    triggers: tuple[Trigger, ...] = ()

    @classmethod
    def failed(cls, reason: str, message: str, *, retryable: bool) -> LaunchResult:
        return cls(InvocationStatus.FAILED, RunError(reason, message, retryable))


# Adds a line to the invocation's log; it is stored with the result.
Log = Callable[[str], None]


class Target(Protocol[Spec_contra]):
    async def launch(self, run: Run, spec: Spec_contra, log: Log) -> LaunchResult: ...
