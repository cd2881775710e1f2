"""What an error looks like over gRPC: a code and google.rpc.Status with ErrorInfo and what else fits.

The text of an error that is ours to fix is never sent. Details travel as metadata, which clients accept up to
8 KiB, so long lists are cut and say so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from types import MappingProxyType
from urllib.parse import quote

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from ostinato.errors import (
    AlreadyExists,
    CallerError,
    CommitOutcomeUnknown,
    Conflict,
    Contention,
    FailedPrecondition,
    InternalError,
    InvalidArgument,
    NotFound,
    OstinatoError,
    PermissionDenied,
    ResourceError,
    ResourceExhausted,
    StaleLease,
    TaskOutcomeError,
    Transient,
    Unauthenticated,
    Violation,
)
from ostinato.rpc.call_deadline import DeadlineExceeded

DOMAIN = "ostinato"
TRANSIENT_RETRY_AFTER = timedelta(seconds=1)

# The first class of an error's ancestry that stands here decides. Everything else is INTERNAL.
STATUS_CODES: Mapping[type[BaseException], grpc.StatusCode] = MappingProxyType(
    {
        CallerError: grpc.StatusCode.INVALID_ARGUMENT,
        InvalidArgument: grpc.StatusCode.INVALID_ARGUMENT,
        NotFound: grpc.StatusCode.NOT_FOUND,
        AlreadyExists: grpc.StatusCode.ALREADY_EXISTS,
        PermissionDenied: grpc.StatusCode.PERMISSION_DENIED,
        Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
        FailedPrecondition: grpc.StatusCode.FAILED_PRECONDITION,
        Conflict: grpc.StatusCode.ABORTED,
        ResourceExhausted: grpc.StatusCode.RESOURCE_EXHAUSTED,
        DeadlineExceeded: grpc.StatusCode.DEADLINE_EXCEEDED,
        # Clients repeat UNAVAILABLE by themselves: right, because every mutation may be repeated.
        Transient: grpc.StatusCode.UNAVAILABLE,
        Contention: grpc.StatusCode.UNAVAILABLE,
        CommitOutcomeUnknown: grpc.StatusCode.UNAVAILABLE,
        # These belong to task handlers: one that reaches a caller is a bug.
        StaleLease: grpc.StatusCode.INTERNAL,
        TaskOutcomeError: grpc.StatusCode.INTERNAL,
        InternalError: grpc.StatusCode.INTERNAL,
    }
)

_NOTHING_TO_TELL = "something went wrong on our side"
_MAX_MESSAGE_BYTES = 1000
_MAX_DETAIL_BYTES = 3500
_RESOURCE_TYPES = {"projects": "Project", "jobs": "Job", "invocations": "Invocation"}


def status_code(error: BaseException) -> grpc.StatusCode:
    for ancestor in type(error).__mro__:
        if ancestor in STATUS_CODES:
            return STATUS_CODES[ancestor]
    return grpc.StatusCode.INTERNAL


def status_reason(error: BaseException) -> str:
    """The UPPER_SNAKE code of ErrorInfo."""
    if status_code(error) is grpc.StatusCode.INTERNAL or not isinstance(error, OstinatoError):
        return "INTERNAL"
    return error.reason


def to_rpc_status(error: BaseException) -> status_pb2.Status:
    """The whole answer. Each kind of detail stands in it at most once."""
    code = status_code(error)
    status = status_pb2.Status(code=code.value[0], message=_message(error, code))
    for detail in _details(error):
        packed = Any()
        packed.Pack(detail)
        status.details.append(packed)
    return status


def _message(error: BaseException, code: grpc.StatusCode) -> str:
    match code:
        case grpc.StatusCode.INTERNAL:
            return _NOTHING_TO_TELL
        case grpc.StatusCode.UNAVAILABLE:
            return "not available at the moment, repeat"
        case _:
            return _cut(str(error), _MAX_MESSAGE_BYTES)


def _details(error: BaseException) -> Iterator[Message]:
    yield error_details_pb2.ErrorInfo(domain=DOMAIN, reason=status_reason(error))
    if isinstance(error, InvalidArgument):
        yield _bad_request(error.violations)
    if isinstance(error, ResourceError) and error.resource:
        yield _resource_info(error)
    if retry_after := _retry_after(error):
        info = error_details_pb2.RetryInfo()
        info.retry_delay.FromTimedelta(retry_after)
        yield info


def _bad_request(violations: Sequence[Violation]) -> error_details_pb2.BadRequest:
    told = error_details_pb2.BadRequest()
    for index, violation in enumerate(violations):
        told.field_violations.add(
            field=_cut(violation.path, _MAX_MESSAGE_BYTES), description=_cut(violation.rule, _MAX_MESSAGE_BYTES)
        )
        if told.ByteSize() > _MAX_DETAIL_BYTES:
            del told.field_violations[-1]
            told.field_violations.add(field="", description=f"and {len(violations) - index} more")
            break
    return told


def _resource_info(error: ResourceError) -> error_details_pb2.ResourceInfo:
    collection = error.resource.split("/")[-2:-1]
    kind = _RESOURCE_TYPES.get(collection[0], "") if collection else ""
    return error_details_pb2.ResourceInfo(
        resource_type=f"ostinato.scheduler.v1.{kind}" if kind else "",
        resource_name=_cut(error.resource, _MAX_MESSAGE_BYTES),
        description=_cut(str(error), _MAX_MESSAGE_BYTES),
    )


def _retry_after(error: BaseException) -> timedelta | None:
    match error:
        case ResourceExhausted():
            return error.retry_after
        case DeadlineExceeded():
            return None
        case Transient():
            return TRANSIENT_RETRY_AFTER
        case _:
            return None


def _cut(text: str, limit: int) -> str:
    """At most `limit` bytes on the wire, where a message is percent-encoded."""
    if len(text) * 9 <= limit or _wire_bytes(text) <= limit:
        return text
    kept = text[:limit]
    while _wire_bytes(kept) > limit - 3:
        kept = kept[: len(kept) * 9 // 10]
    return kept + "..."


def _wire_bytes(text: str) -> int:
    return len(quote(text, safe=" !\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~"))
