"""What came of one attempt, with the status that Cloud Tasks shows for it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from types import MappingProxyType

OK = "OK"
DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"

# Of google.rpc.Code, where the same HTTP status stands; others are INTERNAL from 500 on, else FAILED_PRECONDITION.
_CODES: Mapping[int, str] = MappingProxyType(
    {
        400: "INVALID_ARGUMENT",
        401: "UNAUTHENTICATED",
        403: "PERMISSION_DENIED",
        404: "NOT_FOUND",
        409: "ABORTED",
        429: "RESOURCE_EXHAUSTED",
        499: "CANCELLED",
        500: "INTERNAL",
        501: "UNIMPLEMENTED",
        503: "UNAVAILABLE",
        504: DEADLINE_EXCEEDED,
    }
)


@dataclass(frozen=True, slots=True)
class AttemptResult:
    """`code` is the name of a google.rpc.Code; `http_status` is None if no answer came."""

    code: str
    message: str
    http_status: int | None = None
    retry_after: timedelta | None = None

    @property
    def succeeded(self) -> bool:
        return self.http_status is not None and 200 <= self.http_status < 300

    @property
    def executed(self) -> bool:
        """The handler answered, and not with an error of the server's: what TaskExecutionCount counts."""
        return self.http_status is not None and self.http_status < HTTPStatus.INTERNAL_SERVER_ERROR


def answered(http_status: int, retry_after: timedelta | None = None) -> AttemptResult:
    code = _code_of(http_status)
    return AttemptResult(code, f"HTTP status code {http_status}", http_status, retry_after)


def unanswered(code: str, message: str) -> AttemptResult:
    return AttemptResult(code, message)


def parse_retry_after(text: str | None) -> timedelta | None:
    """Whole seconds; a date is not considered."""
    if text is None or not text.isascii() or not text.isdigit() or len(text) > 6:
        return None
    return timedelta(seconds=int(text))


def _code_of(http_status: int) -> str:
    if 200 <= http_status < 300:
        return OK
    return _CODES.get(http_status, "INTERNAL" if http_status >= 500 else "FAILED_PRECONDITION")
