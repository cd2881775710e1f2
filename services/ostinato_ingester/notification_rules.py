"""What a notification may contain, whichever way it came. All broken rules are told at once."""

from __future__ import annotations

from collections.abc import Iterator

from ostinato.errors import Violation
from ostinato.pb.ingest.v1.notifications_pb2 import NotifyRequest
from ostinato.rpc.struct_rules import broken_struct_rule

MAX_MESSAGE_ID_BYTES = 200
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
    if request.HasField("result") and (rule := broken_struct_rule(request.result)):
        yield Violation("result", rule)
    yield from _log_violations(request)
    yield from _too_long("error_message", request.error_message, MAX_ERROR_MESSAGE_BYTES)


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
