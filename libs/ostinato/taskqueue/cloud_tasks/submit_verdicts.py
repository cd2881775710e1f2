"""What an answer of Cloud Tasks means for who asked. Pure."""

from __future__ import annotations

from ostinato.errors import (
    CommitOutcomeUnknown,
    FailedPrecondition,
    NotFound,
    OstinatoError,
    ResourceExhausted,
    Unavailable,
)
from ostinato.taskqueue.reminders.submitting_port import SubmitVerdict

OK = "OK"
ALREADY_EXISTS = "ALREADY_EXISTS"
UNKNOWN = "UNKNOWN"

_HANDED_OVER = frozenset({OK, ALREADY_EXISTS})
# It may have been done, or will be soon. RESOURCE_EXHAUSTED is a quota, ABORTED a race: both pass.
_PASSING = frozenset(
    {"INTERNAL", UNKNOWN, "UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED", "RESOURCE_EXHAUSTED", "ABORTED"}
)
_IN_DOUBT = frozenset({"INTERNAL", UNKNOWN, "DEADLINE_EXCEEDED", "CANCELLED"})
_PASSING_ERRORS = {"UNAVAILABLE": Unavailable, "ABORTED": Unavailable}


def verdict_of(code: str) -> SubmitVerdict:
    """`code`: the name of a gRPC status. One that nobody named counts as refused."""
    if code in _HANDED_OVER:
        return SubmitVerdict.DONE
    return SubmitVerdict.KEEP if code in _PASSING else SubmitVerdict.REFUSED


def error_of(code: str, text: str) -> OstinatoError:
    """For a caller who asked by itself and can repeat. What it had asked for passed our own rules before."""
    message = f"Cloud Tasks answered {code}: {text}"
    if code in _IN_DOUBT:
        return CommitOutcomeUnknown(message)
    if code == "RESOURCE_EXHAUSTED":
        return ResourceExhausted(message)
    if code == "NOT_FOUND":
        return NotFound(message)
    return _PASSING_ERRORS.get(code, FailedPrecondition)(message)
