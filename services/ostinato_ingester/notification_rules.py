"""What a notification may contain, whichever way it came. All broken rules are told at once."""

from __future__ import annotations

import math
from collections.abc import Iterator

from google.protobuf.struct_pb2 import ListValue, Struct, Value

from ostinato.errors import Violation
from ostinato.pb.ingest.v1.notifications_pb2 import NotifyRequest

MAX_MESSAGE_ID_BYTES = 200
MAX_RESULT_BYTES = 64 * 1024
# Far below protobuf's own limit of nesting, which a stored result must never reach inside other messages.
MAX_RESULT_DEPTH = 20
MAX_LOG_LINES = 1000
MAX_LOG_LINE_BYTES = 4 * 1024
MAX_LOG_BYTES = 512 * 1024
MAX_ERROR_MESSAGE_BYTES = 4 * 1024

STATUSES = (NotifyRequest.RUNNING, NotifyRequest.SUCCEEDED, NotifyRequest.FAILED)
STATUS_RULE = "must be RUNNING, SUCCEEDED or FAILED"


def notification_violations(request: NotifyRequest) -> Iterator[Violation]:
    yield from _too_long("message_id", request.message_id, MAX_MESSAGE_ID_BYTES)
    if request.status not in STATUSES:
        yield Violation("status", STATUS_RULE)
    if request.HasField("result"):
        yield from _result_violations(request.result)
    yield from _log_violations(request)
    yield from _too_long("error_message", request.error_message, MAX_ERROR_MESSAGE_BYTES)


def _result_violations(result: Struct) -> Iterator[Violation]:
    if result.ByteSize() > MAX_RESULT_BYTES:
        yield Violation("result", f"must be at most {MAX_RESULT_BYTES} bytes")
    elif _is_too_deep(result, MAX_RESULT_DEPTH):
        yield Violation("result", f"must not be nested deeper than {MAX_RESULT_DEPTH} levels")
    elif not _is_finite(Value(struct_value=result)):
        yield Violation("result", "must contain finite numbers only")


def _log_violations(request: NotifyRequest) -> Iterator[Violation]:
    if len(request.log_lines) > MAX_LOG_LINES:
        yield Violation("log_lines", f"must be at most {MAX_LOG_LINES} lines")
        return
    for number, line in enumerate(request.log_lines):
        yield from _too_long(f"log_lines[{number}]", line, MAX_LOG_LINE_BYTES)
    if sum(len(line.encode()) for line in request.log_lines) > MAX_LOG_BYTES:
        yield Violation("log_lines", f"must be at most {MAX_LOG_BYTES} bytes together")


def _too_long(path: str, text: str, limit: int) -> Iterator[Violation]:
    # Most texts are short: a character takes at most four bytes.
    if len(text) * 4 > limit and len(text.encode()) > limit:
        yield Violation(path, f"must be at most {limit} bytes")


def _children(node: Struct | ListValue) -> Iterator[Value]:
    yield from node.fields.values() if isinstance(node, Struct) else node.values


def _is_too_deep(node: Struct | ListValue, levels: int) -> bool:
    if levels == 0:
        return True
    return any(_is_too_deep(inner, levels - 1) for inner in _containers(node))


def _containers(node: Struct | ListValue) -> Iterator[Struct | ListValue]:
    for value in _children(node):
        match value.WhichOneof("kind"):
            case "struct_value":
                yield value.struct_value
            case "list_value":
                yield value.list_value


def _is_finite(value: Value) -> bool:
    match value.WhichOneof("kind"):
        case "number_value":
            return math.isfinite(value.number_value)
        case "struct_value":
            return all(map(_is_finite, _children(value.struct_value)))
        case "list_value":
            return all(map(_is_finite, _children(value.list_value)))
        case _:
            return True
