"""The error of exactly-once delivery: which ack ids had no effect, in the form that the official clients read."""

from __future__ import annotations

from collections.abc import Sequence

from ostinato.errors import InvalidArgument, Violation

_PERMANENT = "PERMANENT_FAILURE_INVALID_ACK_ID"


class AckIdsRefused(InvalidArgument):
    """The other ids of the request had their effect. `error_info` says of each of these that it will never have one."""

    reason = "EXACTLY_ONCE_ACKID_FAILURE"

    def __init__(self, ack_ids: Sequence[str]) -> None:
        super().__init__([Violation("ack_ids", f"{len(ack_ids)} of them have expired or were settled already")])
        self.error_info = dict.fromkeys(ack_ids, _PERMANENT)
