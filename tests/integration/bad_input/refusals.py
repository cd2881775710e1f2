"""What a refusal must be: a code that blames the caller, and for bad input each field with its rule."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

import grpc
from google.rpc import error_details_pb2
from grpc_status.rpc_status import from_call

BLAMES_THE_CALLER = frozenset(
    {"INVALID_ARGUMENT", "NOT_FOUND", "ABORTED", "FAILED_PRECONDITION", "ALREADY_EXISTS", "UNAUTHENTICATED"}
)
_REASON = re.compile(r"[A-Z][A-Z_]+")


def complaints(error: grpc.aio.AioRpcError, fields: Collection[str]) -> Iterator[str]:
    """What is wrong with the refusal. `fields`: the request's; a violation speaks of one of them, or of the request."""
    code, told = error.code().name, from_call(error)
    if code not in BLAMES_THE_CALLER:
        yield f"code {code}: {error.details()}"
    if told is None:
        yield f"{code} without details: {error.details()}"
        return
    if "Traceback" in str(told) or "asyncpg" in str(told):
        yield f"tells of our insides: {told}"
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    unpacked = [detail.Unpack(kind) for kind in (info, bad) for detail in told.details]
    if not any(unpacked) or info.domain != "ostinato" or not _REASON.fullmatch(info.reason):
        yield f"{code} without a reason"
    if code == "INVALID_ARGUMENT":
        yield from _violation_complaints(bad, fields)


def _violation_complaints(bad: error_details_pb2.BadRequest, fields: Collection[str]) -> Iterator[str]:
    if not bad.field_violations:
        yield "INVALID_ARGUMENT without a field"
    for violation in bad.field_violations:
        root = re.split(r"[.\[]", violation.field)[0]
        if root not in fields and root != "request" and not violation.description.startswith("and "):
            yield f"speaks of {violation.field!r}, which is no field"
        if len(violation.description) < 5:
            yield f"no rule for {violation.field}"
