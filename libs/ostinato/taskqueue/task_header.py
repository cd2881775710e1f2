"""The rarely used part of a stored task: trace context, and since when nobody could handle it. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True)
class TaskHeader:
    traceparent: str = ""
    refused_since: datetime | None = None  # first time the task was undecodable or without a handler

    def encode(self) -> bytes | None:
        """None when there is nothing to say, which is the normal case."""
        fields: dict[str, str | float] = {}
        if self.traceparent:
            fields["traceparent"] = self.traceparent
        if self.refused_since is not None:
            fields["refused_since"] = self.refused_since.timestamp()
        return json.dumps(fields, separators=(",", ":")).encode() if fields else None


EMPTY_HEADER = TaskHeader()


def decode_header(data: bytes | None) -> TaskHeader:
    """Unknown keys are ignored: a newer process may have written them."""
    if data is None:
        return EMPTY_HEADER
    fields = json.loads(data)
    since = fields.get("refused_since")
    return TaskHeader(
        traceparent=fields.get("traceparent", ""),
        refused_since=datetime.fromtimestamp(since, UTC) if since is not None else None,
    )
