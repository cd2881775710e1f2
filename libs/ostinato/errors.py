"""The errors of the project. An error says what the other side should do about it.

    OstinatoError
    ├── CallerError            the caller's request; repeating it unchanged is useless
    │   ├── InvalidArgument    fields that break a rule, all of them at once
    │   ├── NotFound           absent, or not visible to the caller
    │   ├── AlreadyExists
    │   ├── PermissionDenied   visible, but not allowed
    │   ├── Unauthenticated    who are you?
    │   ├── FailedPrecondition the state does not admit it
    │   └── Conflict           somebody else was faster: read again, then repeat
    ├── ResourceExhausted      a limit; repeat after `retry_after`
    ├── Transient              our side, passing; repeat
    │   ├── Unavailable        no answer from something we need
    │   ├── Contention         deadlock or lock timeout; the transaction changed nothing
    │   └── CommitOutcomeUnknown  the commit's answer was lost: it may or may not have happened
    ├── StaleLease             this process no longer owns the task; its effects were rejected
    ├── TaskOutcomeError       raised by a task handler to say how its task goes on
    │   ├── Fatal              retrying is useless: dead letter
    │   ├── Ignore             nothing to do: drop quietly
    │   ├── RetryLater         expected: again after `delay`, uses up no attempt
    │   └── Overloaded         slow the whole queue down
    └── InternalError          a bug of ours

Two tables map them: `ostinato.rpc.error_mapping` (gRPC status) and `ostinato.taskqueue.outcome` (task
outcome). `ostinato.storage` is the only place that translates asyncpg's errors.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta


class OstinatoError(Exception):
    """Base of all. `reason` is the UPPER_SNAKE code that clients see."""

    reason = "INTERNAL"


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken rule: `path` names the field (`jobs[0].schedule`), `rule` says what it must be."""

    path: str
    rule: str

    def __str__(self) -> str:
        return f"{self.path}: {self.rule}"


class CallerError(OstinatoError):
    reason = "BAD_REQUEST"


class InvalidArgument(CallerError):
    """Carries every violation, not only the first."""

    reason = "INVALID_ARGUMENT"

    def __init__(self, violations: Iterable[Violation]) -> None:
        self.violations = tuple(violations)
        super().__init__("; ".join(str(violation) for violation in self.violations))

    @classmethod
    def of(cls, path: str, rule: str) -> InvalidArgument:
        return cls([Violation(path, rule)])


class ResourceError(CallerError):
    """An error about one named resource, such as `projects/p/jobs/j`."""

    def __init__(self, message: str, *, resource: str = "") -> None:
        super().__init__(message)
        self.resource = resource


class NotFound(ResourceError):
    reason = "NOT_FOUND"


class AlreadyExists(ResourceError):
    reason = "ALREADY_EXISTS"


class PermissionDenied(CallerError):
    reason = "PERMISSION_DENIED"


class Unauthenticated(CallerError):
    reason = "UNAUTHENTICATED"


class FailedPrecondition(CallerError):
    reason = "FAILED_PRECONDITION"


class Conflict(CallerError):
    reason = "CONFLICT"


class ResourceExhausted(OstinatoError):
    reason = "RESOURCE_EXHAUSTED"

    def __init__(self, message: str, *, retry_after: timedelta = timedelta(seconds=1)) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Transient(OstinatoError):
    reason = "UNAVAILABLE"


class Unavailable(Transient):
    reason = "UNAVAILABLE"


class Contention(Transient):
    reason = "CONTENTION"


class CommitOutcomeUnknown(Transient):
    reason = "COMMIT_OUTCOME_UNKNOWN"


class StaleLease(OstinatoError):
    reason = "STALE_LEASE"


class TaskOutcomeError(OstinatoError):
    reason = "TASK_OUTCOME"


class Fatal(TaskOutcomeError):
    reason = "FATAL"


class Ignore(TaskOutcomeError):
    reason = "IGNORED"


class RetryLater(TaskOutcomeError):
    reason = "RETRY_LATER"

    def __init__(self, message: str, *, delay: timedelta) -> None:
        super().__init__(message)
        self.delay = delay


class Overloaded(TaskOutcomeError):
    reason = "OVERLOADED"


class InternalError(OstinatoError):
    reason = "INTERNAL"
