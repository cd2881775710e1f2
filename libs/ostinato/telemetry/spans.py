"""Starts spans where a trace is recorded. Without a tracer a trace is only carried on.

What a task does is spanned only when the trace it came with is sampled: a span costs more than the task. A request
from outside may begin a trace; the sampler decides.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry import context, trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer

from ostinato.telemetry.tracing import context_of, is_sampled, use_traceparent

Attributes = Mapping[str, str | int | float]


class Spans:
    """One per process, given to whoever does something worth a span. `tracer` None: tracing is off."""

    def __init__(self, tracer: Tracer | None = None) -> None:
        self._tracer = tracer

    @property
    def on(self) -> bool:
        return self._tracer is not None

    @contextmanager
    def serve(self, name: str, traceparent: str | None, attributes: Attributes) -> Iterator[Span]:
        """The current span while a request is served: in the caller's trace, or the first of a new one."""
        if self._tracer is None:
            with use_traceparent(traceparent):
                yield trace.INVALID_SPAN
            return
        span = self._tracer.start_span(
            name, context_of(traceparent), kind=SpanKind.SERVER, attributes=dict(attributes), record_exception=False
        )
        with _current(span):
            yield span

    @contextmanager
    def call(self, name: str, attributes: Attributes) -> Iterator[Span]:
        """The current span while somebody else is called; the current trace only goes on if it is not sampled."""
        if self._tracer is None or not trace.get_current_span().get_span_context().trace_flags.sampled:
            yield trace.INVALID_SPAN
            return
        span = self._tracer.start_span(name, kind=SpanKind.CLIENT, attributes=dict(attributes), record_exception=False)
        with _current(span):
            try:
                yield span
            except Exception as error:
                mark_failed(span, type(error).__name__)
                raise

    def begin_task(self, name: str, traceparent: str | None, attributes: Attributes) -> Span | None:
        """A span that the caller ends; None if nobody records the trace."""
        if self._tracer is None or not is_sampled(traceparent):
            return None
        return self._tracer.start_span(
            name, context_of(traceparent), kind=SpanKind.CONSUMER, attributes=dict(attributes), record_exception=False
        )


OFF = Spans()


@contextmanager
def _current(span: Span) -> Iterator[None]:
    token = context.attach(trace.set_span_in_context(span, context.get_current()))
    try:
        yield
    finally:
        context.detach(token)
        span.end()


def mark_failed(span: Span, why: str) -> None:
    """`why`: a code, never a text that may be secret."""
    span.set_attribute("error.type", why)
    span.set_status(Status(StatusCode.ERROR))
