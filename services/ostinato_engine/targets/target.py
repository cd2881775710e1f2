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

from ostinato.jobflow.invocation_change import RunError
from ostinato.jobflow.invocation_timers import NewTimer
from ostinato.jobstore.invocation_store import StoredInvocation
from ostinato.pb.scheduler.v1.triggers_pb2 import Trigger
from ostinato.scheduling.invocation import InvocationStatus
from ostinato.scheduling.invocation_id import InvocationId
from ostinato.scheduling.job_definition import JobDefinition

Spec_contra = TypeVar("Spec_contra", contravariant=True)


@dataclass(frozen=True, slots=True)
class Run:
    """An invocation as its target sees it."""

    id: InvocationId
    job_id: int
    name: str  # projects/p/jobs/j/invocations/i
    attempt: int  # of the run, by its retry policy; launches repeated on our side don't count
    scheduled_for: datetime | None
    timeout: timedelta  # of the whole run

    @classmethod
    def of(cls, invocation: StoredInvocation, name: str, definition: JobDefinition) -> Run:
        return cls(
            id=invocation.id,
            job_id=invocation.job_id,
            name=name,
            attempt=invocation.attempt,
            scheduled_for=invocation.scheduled_for,
            timeout=definition.timeout,
        )


@dataclass(frozen=True, slots=True)
class LaunchResult:
    """RUNNING or a final status, and what goes with it. Only what goes on RUNNING may set timers."""

    status: InvocationStatus
    error: RunError | None = None
    view_url: str | None = None
    triggers: tuple[Trigger, ...] = ()
    timers: tuple[NewTimer, ...] = ()

    @classmethod
    def failed(cls, reason: str, message: str, *, retryable: bool) -> LaunchResult:
        return cls(InvocationStatus.FAILED, RunError(reason, message, retryable))


# Adds a line to the invocation's log; it is stored with the result.
Log = Callable[[str], None]


class Target(Protocol[Spec_contra]):
    async def launch(self, run: Run, spec: Spec_contra, log: Log) -> LaunchResult: ...


class TimedTarget(Target[Spec_contra], Protocol[Spec_contra]):
    """A target that sets timers."""

    async def handle_timer(self, run: Run, spec: Spec_contra, payload: bytes, log: Log) -> LaunchResult:
        """A timer is due that an earlier launch or timer of the run set with `payload`. May happen again, too."""
