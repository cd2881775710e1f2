"""What the log of an invocation says about requests and answers. Secrets are cut out before anything is kept. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from yarl import URL

MAX_BODY_LOGGED = 4096
_MAX_VALUE = 500
_MAX_HEADERS = 64
_CUT = "[cut out]"

_SECRET_NAME = re.compile(
    r"(?!idempotency-key$).*(auth|cookie|token|secret|passw|key$|session|credential|signature|^sig$)", re.IGNORECASE
)
_TEXT = re.compile(r"text/.*|application/((.*\+)?json|(.*\+)?xml|javascript|x-www-form-urlencoded|yaml)")


def request_line(method: str, url: URL) -> str:
    query = [(name, _CUT if _SECRET_NAME.match(name) else value) for name, value in url.query.items()]
    return f"{method} {url.with_user(None).with_query(query) if query else url.with_user(None)}"


def header_lines(headers: Mapping[str, str]) -> Iterator[str]:
    for number, (name, value) in enumerate(headers.items()):
        if number == _MAX_HEADERS:
            yield "<further headers left out>"
            return
        yield f"{name}: {_CUT if _SECRET_NAME.match(name) else _shortened(value)}"


def body_text(body: bytes, *, content_type: str, charset: str | None, encoding: str, is_longer: bool) -> str:
    """`body` is how the answer begins; `is_longer`: there is more of it."""
    if not body:
        return "<empty body>"
    if encoding not in ("", "identity") or not _TEXT.fullmatch(content_type.lower()):
        return "<binary response>"
    text = _decoded(body[:MAX_BODY_LOGGED], charset or "utf-8")
    return f"{text}\n<truncated>" if is_longer or len(body) > MAX_BODY_LOGGED else text


def _decoded(body: bytes, charset: str) -> str:
    try:
        return body.decode(charset, errors="replace")
    except (LookupError, ValueError):  # unknown, or none of those that can read anything
        return body.decode("utf-8", errors="replace")


def _shortened(value: str) -> str:
    return value if len(value) <= _MAX_VALUE else f"{value[:_MAX_VALUE]}…"
