"""What a request to Cloud Tasks must obey, so that it can be submitted at any later time. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta

from ostinato.errors import Violation
from ostinato.taskqueue.task_class import CustomPayload
from ostinato.taskqueue.task_options import MAX_TASK_URL_BYTES

MAX_TASK_BYTES = 102_400
MAX_HEADER_BYTES = 81_919  # names and values together
MAX_AHEAD = timedelta(days=30)
METHODS = ("POST", "GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS")

_WITH_BODY = ("POST", "PUT", "PATCH")
_URI = re.compile(r"/(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/?\[\]]|%[0-9A-Fa-f]{2})*")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+\-.^_`|~]{1,200}")
_HEADER_VALUE = re.compile(r"[\x20-\x7e\t]*")
# Set by Cloud Tasks or by us, whatever is asked for.
_RESERVED = re.compile(r"x-cloudtasks-.*|x-appengine-.*|x-google-.*|host|content-length|authorization", re.IGNORECASE)


def eta_violations(at: datetime, now: datetime, field: str) -> Iterator[Violation]:
    if at > now + MAX_AHEAD:
        yield Violation(field, f"must be at most {MAX_AHEAD.days} days ahead on a remote queue")


def size_violations(size: int) -> Iterator[Violation]:
    if size > MAX_TASK_BYTES:
        yield Violation("payload", f"makes a task of {size} bytes; on a remote queue it may have {MAX_TASK_BYTES}")


def header_size_violations(headers: Mapping[str, str]) -> Iterator[Violation]:
    if sum(len(name) + len(value) for name, value in headers.items()) > MAX_HEADER_BYTES:
        yield Violation(
            "custom.headers", f"must have at most {MAX_HEADER_BYTES} bytes, with those that tasks always have"
        )


def custom_violations(custom: CustomPayload, url: str) -> Iterator[Violation]:
    """`url`: what the relative URI makes of it."""
    if custom.method not in METHODS:
        yield Violation("custom.method", f"must be one of {', '.join(METHODS)}")
    elif custom.body and custom.method not in _WITH_BODY:
        yield Violation("custom.body", f"must be empty unless the method is one of {', '.join(_WITH_BODY)}")
    if not _URI.fullmatch(custom.relative_uri):
        yield Violation("custom.relative_uri", "must be a path that begins with a slash, with a query if need be")
    elif len(url) > MAX_TASK_URL_BYTES:
        yield Violation("custom.relative_uri", f"makes a URL that is longer than {MAX_TASK_URL_BYTES} bytes")
    for name, value in custom.headers.items():
        if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
            yield Violation(f"custom.headers[{name[:100]}]", "must be a token, its value printable ASCII in one line")
        elif _RESERVED.fullmatch(name):
            yield Violation(f"custom.headers[{name}]", "is not the caller's to set")
