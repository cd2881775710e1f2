from __future__ import annotations

from datetime import timedelta

import grpc
import pytest
from grpc.aio import AioRpcError, Metadata

from ostinato.client.client_error import ClientError, client_error
from ostinato.errors import (
    InvalidArgument,
    NotFound,
    OstinatoError,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
    Violation,
)
from ostinato.rpc.error_mapping import to_rpc_status


def answered(error: OstinatoError) -> ClientError:
    """What the client makes of the server's own answer."""
    status = to_rpc_status(error)
    code = next(code for code in grpc.StatusCode if code.value[0] == status.code)
    details = Metadata(("grpc-status-details-bin", status.SerializeToString()))
    return client_error(AioRpcError(code, Metadata(), details, status.message))


def test_every_broken_rule_arrives() -> None:
    violations = (Violation("jobs[0].schedule", "is no schedule"), Violation("jobs[1].id", "is missing"))
    error = answered(InvalidArgument(violations))
    assert (error.code, error.reason, error.violations) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "INVALID_ARGUMENT",
        violations,
    )


def test_the_resource_that_is_missing_arrives() -> None:
    error = answered(NotFound("no such job", resource="projects/p/jobs/j"))
    assert (str(error), error.reason, error.resource) == ("no such job", "NOT_FOUND", "projects/p/jobs/j")


def test_when_to_repeat_arrives() -> None:
    assert answered(ResourceExhausted("slow down", retry_after=timedelta(seconds=7))).retry_after == timedelta(
        seconds=7
    )
    assert answered(Unauthenticated("who?")).retry_after is None


def test_a_server_that_says_unavailable_has_answered() -> None:
    assert not answered(Unavailable("database")).is_unanswered


@pytest.mark.parametrize(
    "trailers",
    [None, Metadata(), Metadata(("grpc-status-details-bin", b"\xff\xff")), Metadata(("other-bin", b"x"))],
    ids=["none", "empty", "garbage", "other"],
)
def test_without_readable_details_the_status_itself_stands(trailers: Metadata | None) -> None:
    error = client_error(AioRpcError(grpc.StatusCode.UNAVAILABLE, None, trailers, "connection refused"))
    assert (error.message, error.reason, error.violations) == ("connection refused", "", ())
    assert error.is_unanswered


def test_a_status_without_text_is_named_by_its_code() -> None:
    assert str(client_error(AioRpcError(grpc.StatusCode.UNIMPLEMENTED))) == "UNIMPLEMENTED"
