"""What answers of Cloud Tasks mean."""

from __future__ import annotations

import pytest

from ostinato import errors
from ostinato.taskqueue.cloud_tasks.submit_verdicts import error_of, verdict_of
from ostinato.taskqueue.reminders.submitting_port import SubmitVerdict

KEPT = ("INTERNAL", "UNKNOWN", "UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED", "RESOURCE_EXHAUSTED", "ABORTED")
REFUSED = (
    "INVALID_ARGUMENT",
    "NOT_FOUND",
    "PERMISSION_DENIED",
    "FAILED_PRECONDITION",
    "UNAUTHENTICATED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "DATA_LOSS",
    "WHAT_COMES_NEXT",
)


@pytest.mark.parametrize("code", ["OK", "ALREADY_EXISTS"])
def test_only_what_is_there_counts_as_handed_over(code: str) -> None:
    assert verdict_of(code) is SubmitVerdict.DONE


@pytest.mark.parametrize("code", KEPT)
def test_what_passes_is_kept(code: str) -> None:
    assert verdict_of(code) is SubmitVerdict.KEEP


@pytest.mark.parametrize("code", REFUSED)
def test_every_other_code_is_a_refusal(code: str) -> None:
    assert verdict_of(code) is SubmitVerdict.REFUSED


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("UNAVAILABLE", errors.Unavailable),
        ("ABORTED", errors.Unavailable),
        ("DEADLINE_EXCEEDED", errors.CommitOutcomeUnknown),
        ("INTERNAL", errors.CommitOutcomeUnknown),
        ("RESOURCE_EXHAUSTED", errors.ResourceExhausted),
        ("NOT_FOUND", errors.NotFound),
        ("INVALID_ARGUMENT", errors.FailedPrecondition),
        ("PERMISSION_DENIED", errors.FailedPrecondition),
        ("WHAT_COMES_NEXT", errors.FailedPrecondition),
    ],
)
def test_callers_hear_errors_of_our_own(code: str, kind: type[Exception]) -> None:
    error = error_of(code, "why")
    assert type(error) is kind
    assert "why" in str(error)
