"""Every error has a status, says its reason, and tells nothing it should not."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from datetime import timedelta

import grpc
import pytest
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2

import ostinato
from ostinato import errors
from ostinato.errors import InvalidArgument, NotFound, OstinatoError, ResourceExhausted, Violation
from ostinato.rpc.call_deadline import DeadlineExceeded
from ostinato.rpc.error_mapping import STATUS_CODES, status_code, to_rpc_status
from ostinato.storage.translate import DatabaseError

# The total that clients accept without asking is 8 KiB, counted after base64.
METADATA_BUDGET = 8 * 1024 * 3 // 4 - 512


def subclasses(error: type[OstinatoError]) -> Iterator[type[OstinatoError]]:
    for child in error.__subclasses__():
        yield child
        yield from subclasses(child)


def details_of(error: BaseException) -> dict[type[Message], Message]:
    found: dict[type[Message], Message] = {}
    for packed in to_rpc_status(error).details:
        for kind in (
            error_details_pb2.ErrorInfo,
            error_details_pb2.BadRequest,
            error_details_pb2.RetryInfo,
            error_details_pb2.ResourceInfo,
        ):
            detail = kind()
            if packed.Unpack(detail):
                assert kind not in found
                found[kind] = detail
    return found


def test_every_error_of_the_tree_has_its_own_entry_or_its_parents() -> None:
    direct = {error for error in vars(errors).values() if isinstance(error, type) and issubclass(error, OstinatoError)}
    uncovered = [error.__name__ for error in direct if not set(error.__mro__) & set(STATUS_CODES)]
    assert uncovered == ["OstinatoError"]


def test_no_error_of_any_module_falls_through_to_the_default() -> None:
    for module in pkgutil.walk_packages(ostinato.__path__, "ostinato."):
        if not module.name.startswith(("ostinato.pb", "ostinato.testing")):
            importlib.import_module(module.name)
    assert [error for error in subclasses(OstinatoError) if not set(error.__mro__) & set(STATUS_CODES)] == []


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InvalidArgument.of("name", "must be set"), "INVALID_ARGUMENT"),
        (NotFound("gone", resource="projects/p/jobs/j"), "NOT_FOUND"),
        (errors.AlreadyExists("there", resource="projects/p"), "ALREADY_EXISTS"),
        (errors.PermissionDenied("no"), "PERMISSION_DENIED"),
        (errors.Unauthenticated("who"), "UNAUTHENTICATED"),
        (errors.FailedPrecondition("not now"), "FAILED_PRECONDITION"),
        (errors.Conflict("lost"), "ABORTED"),
        (ResourceExhausted("full"), "RESOURCE_EXHAUSTED"),
        (errors.Unavailable("down"), "UNAVAILABLE"),
        (errors.Contention("deadlock"), "UNAVAILABLE"),
        (errors.CommitOutcomeUnknown("?"), "UNAVAILABLE"),
        (DeadlineExceeded("late"), "DEADLINE_EXCEEDED"),
        (errors.StaleLease("old"), "INTERNAL"),
        (errors.Fatal("x"), "INTERNAL"),
        (errors.InternalError("x"), "INTERNAL"),
        (OstinatoError("x"), "INTERNAL"),
        (ValueError("x"), "INTERNAL"),
    ],
)
def test_an_error_has_the_code_that_says_what_to_do(error: Exception, code: str) -> None:
    status = to_rpc_status(error)
    assert status.code == code_pb2.Code.Value(code)
    assert status_code(error) is grpc.StatusCode[code]
    info = details_of(error)[error_details_pb2.ErrorInfo]
    assert info.domain == "ostinato"
    assert info.reason.isupper()


@pytest.mark.parametrize("error", [ValueError("secret"), DatabaseError("secret"), errors.Unavailable("secret host")])
def test_what_is_ours_to_fix_is_not_told(error: Exception) -> None:
    assert b"secret" not in to_rpc_status(error).SerializeToString()


def test_all_violations_are_told_with_their_fields() -> None:
    error = InvalidArgument([Violation("jobs[0].id", "must be set"), Violation("jobs[1].schedul", "unknown")])
    told = details_of(error)[error_details_pb2.BadRequest].field_violations
    assert [(each.field, each.description) for each in told] == [
        ("jobs[0].id", "must be set"),
        ("jobs[1].schedul", "unknown"),
    ]


def test_violations_that_don_t_fit_are_counted() -> None:
    error = InvalidArgument([Violation(f"jobs[{i}].schedule", "must be a schedule") for i in range(1000)])
    told = details_of(error)[error_details_pb2.BadRequest].field_violations
    assert told[-1].description == f"and {1000 - (len(told) - 1)} more"
    assert len(told) > 50
    assert to_rpc_status(error).ByteSize() < METADATA_BUDGET


@pytest.mark.parametrize("character", ["x", "é", "漢", "\x00", "%", "\U0001f600"])
def test_an_error_fits_into_metadata_whatever_it_says(character: str) -> None:
    text = character * 100_000
    for error in (InvalidArgument.of(text, text), NotFound(text, resource=text), errors.FailedPrecondition(text)):
        assert to_rpc_status(error).ByteSize() < METADATA_BUDGET


def test_limits_say_when_to_come_back() -> None:
    retry = details_of(ResourceExhausted("full", retry_after=timedelta(seconds=7)))[error_details_pb2.RetryInfo]
    assert retry.retry_delay.ToTimedelta() == timedelta(seconds=7)
    assert error_details_pb2.RetryInfo in details_of(errors.Unavailable("down"))
    assert error_details_pb2.RetryInfo not in details_of(DeadlineExceeded("late"))


@pytest.mark.parametrize(
    ("resource", "kind"),
    [
        ("projects/p", "ostinato.scheduler.v1.Project"),
        ("projects/p/jobs/j", "ostinato.scheduler.v1.Job"),
        ("projects/p/jobs/j/invocations/1", "ostinato.scheduler.v1.Invocation"),
        ("other", ""),
    ],
)
def test_a_missing_resource_is_named(resource: str, kind: str) -> None:
    info = details_of(NotFound("gone", resource=resource))[error_details_pb2.ResourceInfo]
    assert (info.resource_type, info.resource_name) == (kind, resource)
