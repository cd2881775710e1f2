"""One canonical log line and one measurement per call."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import grpc
import structlog
from opentelemetry.trace import INVALID_SPAN, Span
from prometheus_client import CollectorRegistry, Counter, Histogram

from ostinato.clock import Clock
from ostinato.rpc.error_mapping import status_code, status_reason
from ostinato.rpc.running_streams import StreamInterrupted
from ostinato.telemetry.spans import Spans, mark_failed

_log = structlog.get_logger(__name__)
_MAX_ERROR_TEXT = 2000
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class CallMetrics:
    """Counts and durations of calls by method and code, in the registry given."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._calls = Counter("ostinato_rpc_calls", "Calls that ended.", ("method", "code"), registry=registry)
        self._seconds = Histogram(
            "ostinato_rpc_seconds", "How long calls took.", ("method",), buckets=_SECONDS, registry=registry
        )

    def observe(self, method: str, code: str, seconds: float) -> None:
        self._calls.labels(method, code).inc()
        self._seconds.labels(method).observe(seconds)


@dataclass(slots=True)
class CallRecord:
    """What is known of a call while it runs."""

    method: str
    peer: str
    clock: Clock
    caller: str = ""
    request_bytes: int = 0
    responses: int = 0  # of a stream
    began: float = field(init=False)
    span: Span = INVALID_SPAN

    def __post_init__(self) -> None:
        self.began = self.clock.monotonic()

    @contextmanager
    def in_trace(self, spans: Spans, traceparent: str | None) -> Iterator[None]:
        """The call's span, in the trace of its caller or the first of a new one; call `finish` inside."""
        _, service, method = self.method.split("/")
        attributes = {"rpc.system": "grpc", "rpc.service": service, "rpc.method": method}
        with spans.serve(self.method.removeprefix("/"), traceparent, attributes) as self.span:
            yield

    def finish(self, metrics: CallMetrics, error: BaseException | None) -> None:
        """`error`: None if the call was answered."""
        seconds = self.clock.monotonic() - self.began
        code = _code_name(error)
        metrics.observe(self.method, code, seconds)
        fields: dict[str, object] = {
            "method": self.method,
            "code": code,
            "duration_ms": round(seconds * 1000, 3),
            "caller": self.caller,
            "peer": self.peer,
            "request_bytes": self.request_bytes,
        }
        if self.responses:
            fields["responses"] = self.responses
        if error is not None:
            fields |= {"reason": status_reason(error), "error": str(error)[:_MAX_ERROR_TEXT]}
        self._end_span(code, error)
        _write(code, fields, error)

    def _end_span(self, code: str, error: BaseException | None) -> None:
        if self.span.is_recording():
            self.span.set_attribute("rpc.grpc.status_code", grpc.StatusCode[code].value[0])
            if error is not None:
                mark_failed(self.span, code)


def _code_name(error: BaseException | None) -> str:
    if error is None:
        return grpc.StatusCode.OK.name
    # Everything that is no Exception is a cancellation: the caller left, or the server shuts down.
    code = status_code(error) if isinstance(error, Exception) else grpc.StatusCode.CANCELLED
    return code.name


def _write(code: str, fields: dict[str, object], error: BaseException | None) -> None:
    match code:
        case "INTERNAL":
            _log.error("rpc", **fields, exc_info=error)
        case "UNAVAILABLE" if not isinstance(error, StreamInterrupted):  # a drain is no trouble
            _log.warning("rpc", **fields)
        case _:
            _log.info("rpc", **fields)
