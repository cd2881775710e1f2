"""The target that calls a URL.

Idempotent by the `Idempotency-Key`, which is the invocation's name: a call repeated after a crash of ours carries
the same one. An answer of 400 or more, no answer in time and no connection are results of the run, not ours to retry.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

import aiohttp

from ostinato.auth.notification_token import NotificationTokens
from ostinato.clock import Clock
from ostinato.scheduling.invocation import InvocationStatus
from ostinato.scheduling.targets import HttpSpec
from ostinato.telemetry.spans import OFF, Spans, mark_failed
from ostinato.telemetry.tracing import current_traceparent
from ostinato_engine.targets.address_rules import AddressRefused, AddressRules
from ostinato_engine.targets.http_log import MAX_BODY_LOGGED, body_text, header_lines, request_line
from ostinato_engine.targets.http_request import HttpRequest, Notify, first_request, is_redirect, next_request
from ostinato_engine.targets.target import LaunchResult, Log, Run

MAX_REDIRECTS = 5
MIN_TOKEN_LIFETIME = timedelta(hours=48)
TOKEN_OUTLIVES_RUN = timedelta(hours=1)

HTTP_STATUS = "HTTP_STATUS"
HTTP_TIMEOUT = "HTTP_TIMEOUT"
HTTP_CONNECTION = "HTTP_CONNECTION"
HTTP_REDIRECT = "HTTP_REDIRECT"
ADDRESS_REFUSED = "ADDRESS_REFUSED"

_MAX_BODY_READ = 65_536
_RETRYABLE_STATUSES = frozenset({408, 425, 429})

IssueToken = Callable[[Run], str]


class _Refused(Exception):  # noqa: N818 - control flow inside this module
    """The answer can't be accepted; carries the run's result."""

    def __init__(self, result: LaunchResult) -> None:
        super().__init__()
        self.result = result


class HttpLauncher:
    """Build it with `open_http_launcher`."""

    def __init__(
        self, session: aiohttp.ClientSession, notify_url: str, issue_token: IssueToken, spans: Spans = OFF
    ) -> None:
        self._session = session
        self._notify_url = notify_url
        self._issue_token = issue_token
        self._spans = spans

    async def launch(self, run: Run, spec: HttpSpec, log: Log) -> LaunchResult:
        attributes = {"http.request.method": spec.method, "ostinato.invocation": run.name}
        with self._spans.call(spec.method, attributes) as span:
            result = await self._launch(run, spec, log)
            if result.error is not None:
                mark_failed(span, result.error.reason)
        return result

    async def _launch(self, run: Run, spec: HttpSpec, log: Log) -> LaunchResult:
        try:
            async with asyncio.timeout(spec.timeout.total_seconds()) as limit:
                status = await self._call(self._first_request(run, spec), log)
        except _Refused as refused:
            return refused.result
        except (aiohttp.ClientError, OSError, UnicodeError) as error:
            if isinstance(error, TimeoutError) and limit.expired():
                return _failed(log, HTTP_TIMEOUT, f"no answer within {spec.timeout.total_seconds():g} s")
            return _connection_failed(log, error)
        return _result_of(status, multistage=spec.multistage)

    def _first_request(self, run: Run, spec: HttpSpec) -> HttpRequest:
        notify = Notify(self._notify_url, self._issue_token(run)) if spec.multistage else None
        return first_request(spec, run, traceparent=current_traceparent() or _new_traceparent(), notify=notify)

    async def _call(self, request: HttpRequest, log: Log) -> int:
        """The status of the last answer, after at most MAX_REDIRECTS redirects."""
        for _ in range(MAX_REDIRECTS + 1):
            log(request_line(request.method, request.url))
            for line in header_lines(request.headers):
                log(line)
            async with self._session.request(
                request.method,
                request.url,
                headers=request.headers,
                data=request.body or None,
                allow_redirects=False,
            ) as response:
                await _log_response(response, log)
            location = response.headers.get("Location")
            if location is None or not is_redirect(response.status):
                return response.status
            request = _follow(request, response.status, location, log)
        raise _Refused(_failed(log, HTTP_REDIRECT, f"more than {MAX_REDIRECTS} redirects", retryable=False))


def _follow(request: HttpRequest, status: int, location: str, log: Log) -> HttpRequest:
    try:
        return next_request(request, status, location)
    except ValueError as error:
        raise _Refused(_failed(log, HTTP_REDIRECT, f"can't follow the redirect: {error}", retryable=False)) from error


async def _log_response(response: aiohttp.ClientResponse, log: Log) -> None:
    log(f"HTTP {response.status} {response.reason or ''}".rstrip())
    for line in header_lines(response.headers):
        log(line)
    body, is_longer = await _read_beginning(response)
    log(
        body_text(
            body,
            content_type=response.content_type,
            charset=response.charset,
            encoding=response.headers.get("Content-Encoding", ""),
            is_longer=is_longer,
        )
    )


async def _read_beginning(response: aiohttp.ClientResponse) -> tuple[bytes, bool]:
    """(what is worth logging, whether there is more). A short body is read to its end, so that the connection lives."""
    kept, size = b"", 0
    async for chunk in response.content.iter_any():
        kept += chunk[: MAX_BODY_LOGGED - len(kept)]
        size += len(chunk)
        if size > _MAX_BODY_READ:
            response.close()
            break
    return kept, size > len(kept)


def _result_of(status: int, *, multistage: bool) -> LaunchResult:
    if status >= 400:
        retryable = status >= 500 or status in _RETRYABLE_STATUSES
        return LaunchResult.failed(HTTP_STATUS, f"HTTP status {status}", retryable=retryable)
    if multistage and status == 202:
        return LaunchResult(InvocationStatus.RUNNING)
    return LaunchResult(InvocationStatus.SUCCEEDED)


def _connection_failed(log: Log, error: Exception) -> LaunchResult:
    if refused := _refusal_in(error):
        return _failed(log, ADDRESS_REFUSED, refused.strerror or "", retryable=False)
    return _failed(log, HTTP_CONNECTION, _why(error))


def _why(error: Exception) -> str:
    match error:
        case aiohttp.ClientConnectorError():  # its text speaks of TLS where there is none
            return f"can't connect to {error.host}:{error.port}: {error.os_error.strerror or error.os_error}"
        case aiohttp.ClientResponseError():  # its text begins with a status that nobody answered
            return f"the answer is not HTTP: {error.message}"
        case UnicodeError():
            return f"the name of the host is not valid: {error}"
        case _:
            return str(error) or type(error).__name__


def _refusal_in(error: BaseException | None) -> AddressRefused | None:
    while error is not None:
        if isinstance(error, AddressRefused):
            return error
        error = error.__cause__
    return None


def _failed(log: Log, reason: str, message: str, *, retryable: bool = True) -> LaunchResult:
    log(f"Failed: {message}")
    return LaunchResult.failed(reason, message, retryable=retryable)


def _new_traceparent() -> str:
    """An unsampled trace of its own, so that the called service always has one to log."""
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-00"


def token_issuer(tokens: NotificationTokens, clock: Clock) -> IssueToken:
    def issue(run: Run) -> str:
        lifetime = max(MIN_TOKEN_LIFETIME, run.timeout + TOKEN_OUTLIVES_RUN)
        return tokens.issue(run.id, run.job_id, now=clock.now(), lifetime=lifetime)

    return issue


@asynccontextmanager
async def open_http_launcher(
    *, rules: AddressRules, notify_url: str, issue_token: IssueToken, spans: Spans = OFF
) -> AsyncIterator[HttpLauncher]:
    """Holds the connections to targets during the block."""
    # Launches are bounded by the task queue, so the pool needs no bound of its own.
    connector = aiohttp.TCPConnector(limit=0, socket_factory=rules.open_socket)
    async with aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None),
        auto_decompress=False,
        trust_env=False,
        requote_redirect_url=False,
    ) as session:
        yield HttpLauncher(session, notify_url, issue_token, spans)
