"""The HTTP side of a service process: health, readiness, metrics, and the service's own routes.

Every answer that is an error is JSON, except to what is not HTTP at all; texts of unexpected exceptions go to the
log only. Bodies and the time a request may take are bounded.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import structlog
from aiohttp import web, web_protocol
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.typedefs import Handler, Middleware
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from ostinato.clock import Clock, SystemClock
from ostinato.config import split_address
from ostinato.errors import OstinatoError
from ostinato.rpc.http_error import error_json, error_response
from ostinato.telemetry.spans import OFF, Spans, mark_failed

ReadyCheck = Callable[[], Awaitable[None]]
BeforeMetrics = Callable[[], Awaitable[None]]

MAX_BODY_BYTES = 8 * 1024 * 1024
REQUEST_TIMEOUT = timedelta(seconds=30)
READY_TIMEOUT = timedelta(seconds=2)
_METRICS_TIMEOUT = timedelta(seconds=1)

_OWN_PATHS = frozenset({"/healthz", "/readyz", "/metrics"})
_log = structlog.get_logger(__name__)

_HTTP_ERRORS: Final[dict[int, tuple[str, str]]] = {
    404: ("NOT_FOUND", "no such path"),
    405: ("METHOD_NOT_ALLOWED", "this path does not take that method"),
    413: ("REQUEST_TOO_LARGE", "the body is too large"),
}


class NotReadyError(Exception):
    """Raised by a ready check. `reason` is shown to whoever asks: a few words without secrets."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class HttpEndpoint:
    """A listening endpoint. `address` has the real port, also when port 0 was asked for.

    `stop` takes no new requests and gives the running ones their grace: for services whose requests need something
    that closes before the endpoint's block ends.
    """

    address: str
    stop: Callable[[], Awaitable[None]]

    @property
    def url(self) -> str:
        return f"http://{self.address}"


@asynccontextmanager
async def open_http_endpoint(
    address: str,
    *,
    ready: ReadyCheck,
    routes: Iterable[web.AbstractRouteDef] = (),
    registry: CollectorRegistry | None = None,
    max_body_bytes: int = MAX_BODY_BYTES,
    request_timeout: timedelta = REQUEST_TIMEOUT,
    ready_timeout: timedelta = READY_TIMEOUT,
    shutdown_grace: timedelta = timedelta(seconds=5),
    clock: Clock | None = None,
    spans: Spans = OFF,
    before_metrics: BeforeMetrics | None = None,
    patient_paths: str = "",
) -> AsyncIterator[HttpEndpoint]:
    """Serves on `address` (HOST:PORT) during the block; at its end running requests get `shutdown_grace`.

    `before_metrics` looks up what metrics show that is not counted; it gets a second. Requests to paths that begin with
    `patient_paths` take as long as they take: their routes bound them, tell of them in the log, and trace them. Raises
    OSError when the address can't be bound.
    """
    app = web.Application(
        client_max_size=max_body_bytes,
        middlewares=[_answering(request_timeout, clock or SystemClock(), spans, patient_paths)],
    )
    app.add_routes([*_own_routes(ready, ready_timeout, registry, before_metrics), *routes])
    runner = web.AppRunner(
        app,
        access_log=None,
        logger=_server_log(),
        shutdown_timeout=shutdown_grace.total_seconds(),
        keepalive_timeout=75,
    )
    await runner.setup()
    try:
        host, port = split_address(address)
        await web.TCPSite(runner, host, port).start()
        yield HttpEndpoint(_bound_address(runner), runner.cleanup)
    finally:
        await runner.cleanup()


def _server_log() -> logging.Logger:
    """The log of aiohttp without alarms about what strangers send: that is answered with 400 and no fault of ours."""
    log = logging.getLogger(f"{__name__}.server")
    log.addFilter(_is_our_fault)
    return log


def _is_our_fault(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    if not isinstance(error, HttpProcessingError | web_protocol.RequestPayloadError):
        return True
    _log.info("what came is not HTTP", error=str(error).partition("\n")[0])
    return False


def _own_routes(
    ready: ReadyCheck,
    ready_timeout: timedelta,
    registry: CollectorRegistry | None,
    before_metrics: BeforeMetrics | None,
) -> list[web.RouteDef]:
    async def healthz(_: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def readyz(_: web.Request) -> web.Response:
        reason = await _why_not_ready(ready, ready_timeout)
        if reason:
            return web.json_response({"status": "not ready", "reason": reason}, status=503)
        return web.json_response({"status": "ready"})

    async def metrics(_: web.Request) -> web.Response:
        if before_metrics is not None:
            await _prepare(before_metrics)
        body = generate_latest(registry) if registry is not None else b""
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    return [web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", metrics)]


async def _prepare(before_metrics: BeforeMetrics) -> None:
    """Metrics are answered in any case: most when the database is away."""
    try:
        async with asyncio.timeout(_METRICS_TIMEOUT.total_seconds()):
            await before_metrics()
    except (OstinatoError, TimeoutError) as error:
        _log.info("metrics lack what the database knows", error=str(error))


async def _why_not_ready(ready: ReadyCheck, limit: timedelta) -> str:
    try:
        async with asyncio.timeout(limit.total_seconds()):
            await ready()
    except NotReadyError as error:
        return error.reason
    except OstinatoError as error:
        _log.info("not ready", reason=error.reason, error=str(error))
        return error.reason
    except TimeoutError:
        return "TIMEOUT"
    except Exception:  # noqa: BLE001 - whatever it is, this process is not ready
        _log.exception("the ready check failed")
        return "INTERNAL"
    return ""


def _answering(request_timeout: timedelta, clock: Clock, spans: Spans, patient_paths: str) -> Middleware:
    """Bounds a request in time, turns whatever it raises into an answer, and writes one log line."""

    @web.middleware
    async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path in _OWN_PATHS:
            return await _answer(request, handler, request_timeout)
        if patient_paths and request.path.startswith(patient_paths):
            return await _answer(request, handler, None)
        began = clock.monotonic()
        attributes = {"http.request.method": request.method, "url.path": request.path}
        with spans.serve(f"{request.method} {_route(request)}", request.headers.get("traceparent"), attributes) as span:
            response = await _answer(request, handler, request_timeout)
            span.set_attribute("http.response.status_code", response.status)
            if response.status >= 500:
                mark_failed(span, str(response.status))
            _log_request(request, response.status, clock.monotonic() - began)
        return response

    return answer


def _route(request: web.Request) -> str:
    """The path as it was declared; strangers' paths would make endless names."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "(no such path)"


async def _answer(request: web.Request, handler: Handler, request_timeout: timedelta | None) -> web.StreamResponse:
    try:
        async with asyncio.timeout(request_timeout.total_seconds() if request_timeout else None) as limit:
            return await handler(request)
    except web.HTTPException as error:
        return _http_exception(error)
    except web_protocol.RequestPayloadError:
        return error_json(400, "BAD_REQUEST", "the body is not encoded as its headers say")
    except OstinatoError as error:
        response = error_response(error)
        if response.status >= 500:
            _log.warning("http error", path=request.path, reason=error.reason, error=str(error))
        return response
    except Exception as error:  # noqa: BLE001 - the outermost catch of a request
        if isinstance(error, TimeoutError) and limit.expired():
            return _timed_out(request)
        _log.exception("http error", path=request.path)
        return error_json(500, "INTERNAL", "something went wrong on our side")


def _log_request(request: web.Request, status: int, seconds: float) -> None:
    _log.info(
        "http",
        method=request.method,
        path=request.path,
        status=status,
        duration_ms=round(seconds * 1000, 3),
        peer=request.remote,
    )


def _http_exception(error: web.HTTPException) -> web.Response:
    reason, message = _HTTP_ERRORS.get(error.status, ("BAD_REQUEST", "the request can't be read"))
    headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else None
    return error_json(error.status, reason, message, headers=headers)


def _timed_out(request: web.Request) -> web.Response:
    if request.can_read_body and not request.content.is_eof():
        return error_json(408, "REQUEST_TIMEOUT", "the body did not arrive in time")
    return error_json(503, "UNAVAILABLE", "not available at the moment, repeat", headers={"Retry-After": "1"})


def _bound_address(runner: web.AppRunner) -> str:
    host, port = runner.addresses[0][:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
