"""Spans reach a collector by OTLP, and a process does not wait for one that is away."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)

from ostinato.config.tracing import TraceExporter, TracingSettings
from ostinato.telemetry.exporting import open_spans
from ostinato.telemetry.spans import OFF


class Collector(TraceServiceServicer):
    def __init__(self) -> None:
        self.names: list[tuple[str, str]] = []

    async def Export(self, request: ExportTraceServiceRequest, _context) -> ExportTraceServiceResponse:
        for resource in request.resource_spans:
            attributes = {each.key: each.value.string_value for each in resource.resource.attributes}
            for scope in resource.scope_spans:
                self.names += [(attributes["service.name"], span.name) for span in scope.spans]
        return ExportTraceServiceResponse()


@asynccontextmanager
async def collecting() -> AsyncIterator[tuple[Collector, str]]:
    server = grpc.aio.server()
    collector = Collector()
    add_TraceServiceServicer_to_server(collector, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield collector, f"http://127.0.0.1:{port}"
    finally:
        await server.stop(0)


async def test_spans_are_sent_to_the_collector_at_the_latest_when_the_process_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with collecting() as (collector, endpoint):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        async with open_spans(TracingSettings(TraceExporter.OTLP), "ostinato-api") as spans:
            with spans.serve("method", None, {}):
                pass
    assert collector.names == [("ostinato-api", "method")]


async def test_without_an_exporter_there_is_nothing_to_run() -> None:
    async with open_spans(TracingSettings(), "ostinato-api") as spans:
        assert spans is OFF
