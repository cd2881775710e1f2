"""Headers of a pushed task: those that we send along, and those that Cloud Tasks adds. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ostinato.taskqueue.retry_text import encode_retry, parse_retry
from ostinato.taskqueue.task_class import Retry
from ostinato.taskqueue.task_options import TaskOptions

EXPECTED_ETA = "Ostinato-Expected-Eta"
TRACEPARENT = "traceparent"
RETRY = "Ostinato-Retry"
TITLE = "Ostinato-Title"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TIME = re.compile(r"([0-9]{1,12})\.([0-9]{1,12})")
_SENDERS = ("X-AppEngine-", "X-CloudTasks-")


@dataclass(frozen=True, slots=True)
class PushHeaders:
    """`retry_count`: earlier attempts that Cloud Tasks made, whatever they came to. `eta`: when it was due, as we said
    or else as Cloud Tasks says.
    """

    task_name: str = ""
    queue: str = ""
    retry_count: int = 0
    retry_reason: str = ""
    previous_response: str = ""
    eta: datetime | None = None
    traceparent: str = ""
    title: str = ""
    retry: Retry | None = None


def task_headers(*, eta: datetime, traceparent: str | None, options: TaskOptions) -> dict[str, str]:
    """What every task carries."""
    headers = {EXPECTED_ETA: format_eta(eta)}
    if traceparent:
        headers[TRACEPARENT] = traceparent
    if options.title:
        headers[TITLE] = options.title
    if options.retry is not None:
        headers[RETRY] = encode_retry(options.retry)
    return headers


def format_eta(at: datetime) -> str:
    seconds, rest = divmod(at - _EPOCH, timedelta(seconds=1))
    return f"{seconds}.{rest.microseconds:06d}"


def parse_eta(text: str) -> datetime | None:
    """The part behind the dot counts microseconds, however many digits it has; None for what is no such time."""
    match = _TIME.fullmatch(text)
    if match is None:
        return None
    try:
        return _EPOCH + timedelta(seconds=int(match[1]), microseconds=int(match[2]))
    except OverflowError:
        return None


def parse_push_headers(headers: Mapping[str, str]) -> PushHeaders:
    """`headers` in any case. What is malformed counts as absent."""
    lower = {name.lower(): value for name, value in headers.items()}

    def sent(key: str) -> str:
        return next((lower[name] for sender in _SENDERS if (name := f"{sender}{key}".lower()) in lower), "")

    own = {name: lower.get(name.lower(), "") for name in (EXPECTED_ETA, TRACEPARENT, RETRY, TITLE)}
    return PushHeaders(
        task_name=sent("TaskName"),
        queue=sent("QueueName"),
        retry_count=_count(sent("TaskRetryCount")),
        retry_reason=sent("TaskRetryReason"),
        previous_response=sent("TaskPreviousResponse"),
        eta=parse_eta(own[EXPECTED_ETA]) or _parse_seconds(sent("TaskETA")),
        traceparent=own[TRACEPARENT],
        title=own[TITLE],
        retry=parse_retry(own[RETRY]) if own[RETRY] else None,
    )


def _count(text: str) -> int:
    return int(text) if re.fullmatch(r"[0-9]{1,9}", text) else 0


def _parse_seconds(text: str) -> datetime | None:
    if not re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,12})?", text):
        return None
    try:
        return _EPOCH + timedelta(seconds=float(text))
    except OverflowError:
        return None
