from __future__ import annotations

import json
from datetime import timedelta

import pytest

from ostinato.errors import (
    AlreadyExists,
    CommitOutcomeUnknown,
    Conflict,
    Contention,
    FailedPrecondition,
    InternalError,
    InvalidArgument,
    NotFound,
    OstinatoError,
    PermissionDenied,
    ResourceExhausted,
    StaleLease,
    Unauthenticated,
    Unavailable,
    Violation,
)
from ostinato.rpc.http_error import error_response, http_status


def every_error_class(root: type[OstinatoError] = OstinatoError) -> list[type[OstinatoError]]:
    return [root, *(found for child in root.__subclasses__() for found in every_error_class(child))]


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (InvalidArgument.of("status", "is required"), 400, "INVALID_ARGUMENT"),
        (FailedPrecondition("no"), 400, "FAILED_PRECONDITION"),
        (Unauthenticated("no"), 401, "UNAUTHENTICATED"),
        (PermissionDenied("no"), 403, "PERMISSION_DENIED"),
        (NotFound("no"), 404, "NOT_FOUND"),
        (AlreadyExists("no"), 409, "ALREADY_EXISTS"),
        (Conflict("no"), 409, "CONFLICT"),
        (ResourceExhausted("no"), 429, "RESOURCE_EXHAUSTED"),
        (Unavailable("no"), 503, "UNAVAILABLE"),
        (Contention("no"), 503, "CONTENTION"),
        (CommitOutcomeUnknown("no"), 503, "COMMIT_OUTCOME_UNKNOWN"),
        (StaleLease("no"), 500, "INTERNAL"),
        (InternalError("no"), 500, "INTERNAL"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, OstinatoError) else str(value),
)
def test_an_error_has_one_status_and_reason(error: OstinatoError, status: int, reason: str) -> None:
    response = error_response(error)
    assert response.status == status
    assert json.loads(response.body)["error"]["reason"] == reason


@pytest.mark.parametrize("error", [InternalError("secret"), Unavailable("secret"), StaleLease("secret")])
def test_what_went_wrong_on_our_side_is_not_told(error: OstinatoError) -> None:
    assert b"secret" not in error_response(error).body


def test_every_violation_is_listed_with_its_field() -> None:
    error = InvalidArgument([Violation("status", "is required"), Violation("log_lines[2]", "is too long")])
    assert json.loads(error_response(error).body)["error"]["fields"] == [
        {"field": "status", "description": "is required"},
        {"field": "log_lines[2]", "description": "is too long"},
    ]


def test_a_long_list_of_violations_is_cut_and_says_so() -> None:
    error = json.loads(error_response(InvalidArgument([Violation(f"f{n}", "is unknown") for n in range(1000)])).body)
    assert len(error["error"]["message"]) == 1000
    assert error["error"]["fields"][-2:] == [
        {"field": "f49", "description": "is unknown"},
        {"field": "", "description": "and 950 more"},
    ]


def test_repeatable_errors_say_when() -> None:
    assert error_response(Unavailable("x")).headers["Retry-After"] == "1"
    limited = ResourceExhausted("x", retry_after=timedelta(seconds=2.2))
    assert error_response(limited).headers["Retry-After"] == "3"
    assert "Retry-After" not in error_response(NotFound("x")).headers


def test_unauthenticated_names_the_scheme() -> None:
    assert error_response(Unauthenticated("x")).headers["WWW-Authenticate"] == "Bearer"


def test_every_error_of_the_tree_is_a_client_or_a_server_error() -> None:
    statuses = {http_status(error.__new__(error)) for error in every_error_class()}
    assert statuses == {400, 401, 403, 404, 409, 429, 500, 503}
