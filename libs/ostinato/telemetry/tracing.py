"""W3C trace context: how a trace is carried through requests, tasks and calls to targets."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import context, trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

_PROPAGATOR = TraceContextTextMapPropagator()
_HEADER = "traceparent"
_NO_CONTEXT = context.Context()


def current_traceparent() -> str | None:
    """The `traceparent` header of the current trace, None outside any."""
    span_context = trace.get_current_span().get_span_context()
    return traceparent_of(span_context) if span_context.is_valid else None


def traceparent_of(span: trace.SpanContext) -> str:
    """The `traceparent` header that names `span` as the parent (W3C Trace Context, version 00)."""
    return f"00-{span.trace_id:032x}-{span.span_id:016x}-{span.trace_flags:02x}"


def context_of(header: str | None) -> context.Context:
    """A context in which the trace of `header` is the current one; missing or malformed: in which there is none."""
    return _PROPAGATOR.extract({_HEADER: header}, _NO_CONTEXT) if header else _NO_CONTEXT


def is_sampled(header: str | None) -> bool:
    """Whether somebody records the trace. A malformed header names none."""
    if not header or header.endswith("00"):
        return False
    return trace.get_current_span(context_of(header)).get_span_context().trace_flags.sampled


def is_same_trace(one: str, other: str) -> bool:
    return one.split("-")[1:2] == other.split("-")[1:2]


def most_telling(headers: Iterator[str]) -> str | None:
    """Of several traces that led to one thing, the one it belongs to: the first that is recorded, else the first."""
    first = None
    for header in headers:
        if is_sampled(header):
            return header
        first = first or header or None
    return first


@contextmanager
def use_traceparent(header: str | None) -> Iterator[None]:
    """Makes the trace of `header` the current one in the block; a missing or malformed header means no trace."""
    token = context.attach(context_of(header))
    try:
        yield
    finally:
        context.detach(token)
