"""What a notification may contain, whichever way it came. All broken rules are told at once."""

from __future__ import annotations

from collections.abc import Iterator

from ostinato.errors import Violation
from ostinato.pb.ingest.v1.notifications_pb2 import NotifyRequest
from ostinato.rpc.report_rules import log_violations, message_id_violations, too_long
from ostinato.rpc.struct_rules import broken_struct_rule

MAX_ERROR_MESSAGE_BYTES = 4 * 1024

STATUSES = (NotifyRequest.RUNNING, NotifyRequest.SUCCEEDED, NotifyRequest.FAILED)
STATUS_RULE = "must be RUNNING, SUCCEEDED or FAILED"


def notification_violations(request: NotifyRequest) -> Iterator[Violation]:
    yield from message_id_violations(request.message_id)
    if request.status not in STATUSES:
        yield Violation("status", STATUS_RULE)
    if request.HasField("result") and (rule := broken_struct_rule(request.result)):
        yield Violation("result", rule)
    yield from log_violations(request.log_lines, "log_lines")
    yield from too_long("error_message", request.error_message, MAX_ERROR_MESSAGE_BYTES)
