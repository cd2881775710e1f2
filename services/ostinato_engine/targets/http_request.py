"""The requests of an http target: headers that identify the run, and the next request after a redirect. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote

from multidict import CIMultiDict
from yarl import URL

from ostinato.scheduling.targets import HttpSpec
from ostinato_engine.targets.target import Run

IDEMPOTENCY_KEY = "Idempotency-Key"
NOTIFY_TOKEN = "Ostinato-Notify-Token"  # noqa: S105 - the header's name

_DEFAULTS = {
    "User-Agent": "ostinato",
    "Accept": "*/*",
    "Accept-Encoding": "identity",  # a body is read for the log only, and never unpacked
}
# For the host they were meant for, and no other.
_CREDENTIALS = ("Authorization", "Proxy-Authorization", "Cookie", NOTIFY_TOKEN)
_BECOMES_GET = frozenset({301, 302, 303})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True, slots=True)
class Notify:
    """How the called service reports later: where, and with which token."""

    url: str
    token: str


@dataclass(frozen=True, slots=True)
class HttpRequest:
    method: str
    url: URL
    headers: CIMultiDict[str]
    body: bytes


def first_request(spec: HttpSpec, run: Run, *, traceparent: str, notify: Notify | None) -> HttpRequest:
    """The job's own headers never replace the run's."""
    headers = CIMultiDict(_DEFAULTS)
    if spec.body:
        headers["Content-Type"] = "text/plain; charset=utf-8"
    headers.update(spec.headers)
    headers.update(_run_headers(run, traceparent, notify))
    return HttpRequest(spec.method, URL(spec.url, encoded=True), headers, spec.body.encode())


def is_redirect(status: int) -> bool:
    return status in _REDIRECTS


def next_request(request: HttpRequest, status: int, location: str) -> HttpRequest:
    """What RFC 9110 §15.4 asks for, as browsers do it. Raises ValueError for a location that can't be followed."""
    url = request.url.join(URL(location)).with_fragment(None)
    if url.scheme not in {"http", "https"} or not url.host:
        raise ValueError("not an http or https URL")
    headers = CIMultiDict(request.headers)
    if not _same_trust(request.url, url):
        for name in _CREDENTIALS:
            headers.popall(name, None)
    if status in _BECOMES_GET and request.method not in {"GET", "HEAD"}:
        headers.popall("Content-Type", None)
        return HttpRequest("GET", url.with_user(None), headers, b"")
    return HttpRequest(request.method, url.with_user(None), headers, request.body)


def _same_trust(before: URL, after: URL) -> bool:
    """The same host, and not from https down to http."""
    return before.host == after.host and after.scheme in {before.scheme, "https"}


def _run_headers(run: Run, traceparent: str, notify: Notify | None) -> dict[str, str]:
    name = quote(run.name, safe="/")
    headers = {
        IDEMPOTENCY_KEY: name,
        "Ostinato-Invocation": name,
        "Ostinato-Attempt": str(run.attempt),
        "traceparent": traceparent,
    }
    if run.scheduled_for is not None:
        headers["Ostinato-Scheduled-For"] = rfc3339(run.scheduled_for)
    if notify is not None:
        headers[NOTIFY_TOKEN] = notify.token
        headers["Ostinato-Notify-Url"] = notify.url
    return headers


def rfc3339(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")
