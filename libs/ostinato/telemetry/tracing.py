"""W3C trace context: how a trace is carried through requests, tasks and calls to targets."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

_PROPAGATOR = TraceContextTextMapPropagator()
_HEADER = "traceparent"


def current_traceparent() -> str | None:
    """The `traceparent` header of the current trace, None outside any."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier)
    return carrier.get(_HEADER)


@contextmanager
def use_traceparent(header: str | None) -> Iterator[None]:
    """Makes the trace of `header` the current one in the block; a missing or malformed header means no trace."""
    token = context.attach(_PROPAGATOR.extract({_HEADER: header} if header else {}, context.Context()))
    try:
        yield
    finally:
        context.detach(token)
