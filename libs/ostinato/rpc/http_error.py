"""What an error looks like over HTTP: a status and `{"error": {"reason", "message", "fields"}}`.

The text of an error that is ours to fix is never sent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from aiohttp import web

from ostinato.errors import (
    AlreadyExists,
    CallerError,
    Conflict,
    InvalidArgument,
    NotFound,
    OstinatoError,
    PermissionDenied,
    ResourceExhausted,
    Transient,
    Unauthenticated,
    Violation,
)

# The first class of an error's ancestry that stands here decides; everything else is 500.
_STATUS: Final[dict[type[BaseException], int]] = {
    CallerError: 400,
    Unauthenticated: 401,
    PermissionDenied: 403,
    NotFound: 404,
    AlreadyExists: 409,
    Conflict: 409,
    ResourceExhausted: 429,
    Transient: 503,
}
_TRANSIENT_RETRY_AFTER = 1
_MAX_FIELDS = 50
_MAX_MESSAGE = 1000
_NOTHING_TO_TELL = "something went wrong on our side"


def error_response(error: OstinatoError) -> web.Response:
    status = http_status(error)
    if status == 500:
        return error_json(500, "INTERNAL", _NOTHING_TO_TELL)
    if isinstance(error, Transient):
        return error_json(503, error.reason, "not available at the moment, repeat", headers=_retry_after(error))
    violations = error.violations if isinstance(error, InvalidArgument) else ()
    return error_json(status, error.reason, str(error)[:_MAX_MESSAGE], violations=violations, headers=_headers(error))


def error_json(
    status: int,
    reason: str,
    message: str,
    *,
    violations: Sequence[Violation] = (),
    headers: dict[str, str] | None = None,
) -> web.Response:
    error: dict[str, object] = {"reason": reason, "message": message}
    if violations:
        error["fields"] = _fields(violations)
    return web.json_response({"error": error}, status=status, headers=headers)


def _fields(violations: Sequence[Violation]) -> list[dict[str, str]]:
    told = [{"field": violation.path, "description": violation.rule} for violation in violations[:_MAX_FIELDS]]
    if (untold := len(violations) - len(told)) > 0:
        told.append({"field": "", "description": f"and {untold} more"})
    return told


def http_status(error: BaseException) -> int:
    for ancestor in type(error).__mro__:
        if ancestor in _STATUS:
            return _STATUS[ancestor]
    return 500


def _headers(error: OstinatoError) -> dict[str, str]:
    if isinstance(error, Unauthenticated):
        return {"WWW-Authenticate": "Bearer"}
    return _retry_after(error)


def _retry_after(error: OstinatoError) -> dict[str, str]:
    match error:
        case ResourceExhausted():
            return {"Retry-After": str(max(1, math.ceil(error.retry_after.total_seconds())))}
        case Transient():
            return {"Retry-After": str(_TRANSIENT_RETRY_AFTER)}
        case _:
            return {}
