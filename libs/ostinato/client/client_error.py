"""The one error a caller of the client sees: gRPC's status and the details that came with it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TypeVar

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import DecodeError, Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, ResourceInfo, RetryInfo
from google.rpc.status_pb2 import Status

from ostinato.errors import Violation

_DETAILS_KEY = "grpc-status-details-bin"
M = TypeVar("M", bound=Message)


class ClientError(Exception):
    """A call that was refused, failed, or got no answer.

    `reason` is the server's UPPER_SNAKE code; it is empty when no server of ours answered. `violations` names every
    field that broke a rule. `retry_after` is set when the server asks to repeat later.
    """

    def __init__(
        self,
        code: grpc.StatusCode,
        message: str,
        *,
        reason: str = "",
        violations: tuple[Violation, ...] = (),
        resource: str = "",
        retry_after: timedelta | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.reason = reason
        self.violations = violations
        self.resource = resource
        self.retry_after = retry_after

    @property
    def is_unanswered(self) -> bool:
        """Nobody took the call: the address is wrong, or the server is down."""
        return self.code is grpc.StatusCode.UNAVAILABLE and not self.reason


def client_error(error: grpc.aio.AioRpcError) -> ClientError:
    details = _details(error)
    info = _first(details, ErrorInfo)
    bad_request = _first(details, BadRequest)
    resource = _first(details, ResourceInfo)
    retry = _first(details, RetryInfo)
    return ClientError(
        error.code(),
        error.details() or error.code().name,
        reason=info.reason if info else "",
        violations=_violations(bad_request) if bad_request else (),
        resource=resource.resource_name if resource else "",
        retry_after=retry.retry_delay.ToTimedelta() if retry else None,
    )


def _details(error: grpc.aio.AioRpcError) -> Sequence[AnyMessage]:
    for key, value in error.trailing_metadata() or ():
        if key == _DETAILS_KEY and isinstance(value, bytes):
            try:
                return Status.FromString(value).details
            except DecodeError:
                return ()  # something between us and the server speaks another dialect; the status itself stands
    return ()


def _first(details: Sequence[AnyMessage], kind: type[M]) -> M | None:
    message = kind()
    return next((message for detail in details if detail.Unpack(message)), None)


def _violations(bad_request: BadRequest) -> tuple[Violation, ...]:
    return tuple(Violation(violation.field, violation.description) for violation in bad_request.field_violations)
