"""The target that calls a URL. What may stand in a request is decided here, where the api can refuse it."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import SplitResult, urlsplit

from ostinato.errors import Violation

DEFAULT_METHOD = "POST"
DEFAULT_TIMEOUT = timedelta(seconds=60)
MIN_TIMEOUT = timedelta(milliseconds=1)
MAX_TIMEOUT = timedelta(hours=24)
MAX_URL_BYTES = 2_000
MAX_HEADERS = 64
MAX_HEADER_VALUE_BYTES = 4_096
MAX_BODY_BYTES = 65_536

# RFC 9110 §5.6.2 (token) and §5.5 (field values; obsolete line folding and bytes above ASCII left out).
_METHOD = re.compile(r"[A-Z][A-Z-]{0,19}")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,200}")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e]*")
_URL = re.compile(r"[\x21-\x7e]+")

# CONNECT opens a tunnel instead of a request, TRACE echoes credentials back.
_REFUSED_METHODS = frozenset({"CONNECT", "TRACE"})
# Ours (idempotency, trace), or the connection's own.
_RESERVED_HEADERS = frozenset(
    {"connection", "content-length", "host", "idempotency-key", "traceparent", "transfer-encoding", "upgrade"}
)
_RESERVED_PREFIX = "ostinato-"


@dataclass(frozen=True, slots=True)
class HttpSpec:
    """`multistage`: a 202 answer means RUNNING until a notification ends it or the job's timeout does."""

    url: str
    method: str = DEFAULT_METHOD
    headers: tuple[tuple[str, str], ...] = ()
    body: str = ""
    timeout: timedelta = DEFAULT_TIMEOUT
    multistage: bool = False


def validate_http(spec: HttpSpec, path: str) -> list[Violation]:
    violations = [*_check_method(spec.method, path), *_check_url(spec.url, path), *_check_headers(spec.headers, path)]
    if len(spec.body.encode()) > MAX_BODY_BYTES:
        violations.append(Violation(f"{path}.body", f"must be at most {MAX_BODY_BYTES} bytes"))
    if not MIN_TIMEOUT <= spec.timeout <= MAX_TIMEOUT:
        violations.append(Violation(f"{path}.timeout", "must be between 1ms and 24h"))
    return violations


def _check_method(method: str, path: str) -> list[Violation]:
    if _METHOD.fullmatch(method) and method not in _REFUSED_METHODS:
        return []
    return [Violation(f"{path}.method", "must be an HTTP method in capitals such as GET or POST, not CONNECT or TRACE")]


def _check_url(url: str, path: str) -> list[Violation]:
    rule = _broken_url_rule(url)
    return [Violation(f"{path}.url", rule)] if rule else []


def _broken_url_rule(url: str) -> str | None:
    if not url:
        return "is required"
    if len(url) > MAX_URL_BYTES:
        return f"must be at most {MAX_URL_BYTES} bytes"
    if not _URL.fullmatch(url):
        return "must be printable ASCII without spaces; percent-encode the rest"
    parts = _split_url(url)
    if parts is None or parts.scheme not in {"http", "https"} or not parts.hostname:
        return "must be an absolute http or https URL"
    if parts.username is not None or parts.password is not None:
        return "must not carry a user name or password; send a header"
    return None


def _split_url(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises when it is no number or out of range
    except ValueError:
        return None
    return parts


def _check_headers(headers: tuple[tuple[str, str], ...], path: str) -> list[Violation]:
    violations = []
    if len(headers) > MAX_HEADERS:
        violations.append(Violation(f"{path}.headers", f"must be at most {MAX_HEADERS}"))
    occurrences = Counter(name.lower() for name, _ in headers)
    for name, value in headers:
        rule = _broken_header_rule(name, value, occurrences[name.lower()])
        if rule:
            violations.append(Violation(f"{path}.headers[{name!r}]", rule))
    return violations


def _broken_header_rule(name: str, value: str, occurrences: int) -> str | None:
    if not _HEADER_NAME.fullmatch(name):
        return "is no HTTP header name"
    if name.lower() in _RESERVED_HEADERS or name.lower().startswith(_RESERVED_PREFIX):
        return "is reserved"
    if occurrences > 1:
        return "is given more than once (names differ in case only)"
    if len(value) > MAX_HEADER_VALUE_BYTES:
        return f"must be at most {MAX_HEADER_VALUE_BYTES} bytes"
    if not _HEADER_VALUE.fullmatch(value):
        return "must be printable ASCII on one line"
    return None
