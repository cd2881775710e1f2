"""The rarely used part of a stored task: trace context, what was said of it alone, since when nobody could handle it.

Pure.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ostinato.taskqueue.retry_text import retry_fields, retry_of_fields
from ostinato.taskqueue.task_class import Retry


@dataclass(frozen=True, slots=True)
class TaskHeader:
    traceparent: str = ""
    refused_since: datetime | None = None  # first time the task was undecodable or without a handler
    title: str = ""
    retry: Retry | None = None  # instead of its class's
    is_request: bool = False  # the payload is the body of a pushed request, as nobody here could decode it

    def encode(self) -> bytes | None:
        """None when there is nothing to say, which is the normal case."""
        fields: dict[str, Any] = {}
        if self.traceparent:
            fields["traceparent"] = self.traceparent
        if self.refused_since is not None:
            fields["refused_since"] = self.refused_since.timestamp()
        if self.title:
            fields["title"] = self.title
        if self.retry is not None:
            fields["retry"] = retry_fields(self.retry)
        if self.is_request:
            fields["is_request"] = True
        return json.dumps(fields, separators=(",", ":")).encode() if fields else None


EMPTY_HEADER = TaskHeader()


def decode_header(data: bytes | None) -> TaskHeader:
    """Unknown keys are ignored: a newer process may have written them."""
    if data is None:
        return EMPTY_HEADER
    fields = json.loads(data)
    since, retry = fields.get("refused_since"), fields.get("retry")
    return TaskHeader(
        traceparent=fields.get("traceparent", ""),
        refused_since=datetime.fromtimestamp(since, UTC) if since is not None else None,
        title=fields.get("title", ""),
        retry=retry_of_fields(retry) if retry is not None else None,
        is_request=fields.get("is_request", False),
    )
