"""Sends spans to a collector by OTLP, or prints them: set up by the standard OTEL_… variables.

Belongs to the services extra. Spans leave in batches on a thread of their own; a collector that is away costs spans,
never requests.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased, Sampler, TraceIdRatioBased

from ostinato.config.tracing import TraceExporter, TracingSettings
from ostinato.telemetry.spans import OFF, Spans

_LAST_EXPORT = 5.0  # seconds that a process waits at its end for the collector


@asynccontextmanager
async def open_spans(settings: TracingSettings, service: str, *, instead: Spans | None = None) -> AsyncIterator[Spans]:
    """Spans of this process, exported until the block ends; OFF when no exporter is set, or what the caller has."""
    if instead is not None or settings.exporter is TraceExporter.NONE:
        yield instead or OFF
        return
    # The exporter reads its own variables: endpoint, headers, certificates, timeouts.
    provider = TracerProvider(sampler_of(settings), _resource(service), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(_exporter(settings.exporter)))
    try:
        yield Spans(provider.get_tracer("ostinato"))
    finally:
        await _shut_down(provider)


def sampler_of(settings: TracingSettings) -> Sampler:
    """OTEL_TRACES_SAMPLER as OpenTelemetry defines it."""
    roots: dict[str, Sampler] = {
        "always_on": ALWAYS_ON,
        "always_off": ALWAYS_OFF,
        "traceidratio": TraceIdRatioBased(settings.ratio),
    }
    root = roots[settings.sampler.removeprefix("parentbased_")]
    return ParentBased(root) if settings.sampler.startswith("parentbased_") else root


def _resource(service: str) -> Resource:
    """OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win over our own name."""
    return Resource({SERVICE_NAME: service}).merge(OTELResourceDetector().detect())


def _exporter(kind: TraceExporter) -> SpanExporter:
    return ConsoleSpanExporter(out=sys.stderr) if kind is TraceExporter.CONSOLE else OTLPSpanExporter()


async def _shut_down(provider: TracerProvider) -> None:
    """The last spans leave, if the collector answers soon."""
    ending = threading.Thread(target=provider.shutdown, daemon=True)
    ending.start()
    await asyncio.to_thread(ending.join, _LAST_EXPORT)
