"""Spans begin where a trace is recorded, and only there."""

from __future__ import annotations

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased

from ostinato.config.tracing import TraceSampler, TracingSettings
from ostinato.telemetry.exporting import sampler_of
from ostinato.telemetry.spans import OFF, Spans
from ostinato.telemetry.tracing import current_traceparent, is_sampled, most_telling, use_traceparent

SAMPLED = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
UNSAMPLED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"


@pytest.fixture
def memory() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def spans(memory: InMemorySpanExporter) -> Spans:
    provider = TracerProvider(sampler=ParentBased(ALWAYS_ON), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(memory))
    return Spans(provider.get_tracer("test"))


def test_a_request_is_served_in_a_span_of_its_callers_trace(spans: Spans, memory: InMemorySpanExporter) -> None:
    with spans.serve("method", SAMPLED, {"rpc.system": "grpc"}):
        inside = current_traceparent()
    (span,) = memory.get_finished_spans()
    assert inside == f"00-4bf92f3577b34da6a3ce929d0e0e4736-{span.context.span_id:016x}-01"
    assert current_traceparent() is None


def test_without_a_tracer_the_trace_only_goes_on() -> None:
    with OFF.serve("method", SAMPLED, {}), OFF.call("POST", {}):
        assert current_traceparent() == SAMPLED
    assert OFF.begin_task("task", SAMPLED, {}) is None
    assert not OFF.on


@pytest.mark.parametrize("header", [None, "", UNSAMPLED, "nonsense", SAMPLED[:-1], f"ff{SAMPLED[2:]}"])
def test_a_task_whose_trace_nobody_records_has_no_span(spans: Spans, header: str | None) -> None:
    assert spans.begin_task("task", header, {}) is None


def test_a_call_inside_an_unrecorded_trace_has_no_span(spans: Spans, memory: InMemorySpanExporter) -> None:
    with use_traceparent(UNSAMPLED), spans.call("POST", {}):
        assert current_traceparent() == UNSAMPLED
    assert memory.get_finished_spans() == ()


def test_a_call_that_raises_is_an_error_without_its_text(spans: Spans, memory: InMemorySpanExporter) -> None:
    with use_traceparent(SAMPLED), pytest.raises(ValueError, match="hush"), spans.call("POST", {}):
        raise ValueError("hush")
    (span,) = memory.get_finished_spans()
    assert not span.status.is_ok
    assert "hush" not in span.to_json()
    assert span.attributes is not None
    assert span.attributes["error.type"] == "ValueError"


def test_of_several_traces_the_recorded_one_is_told() -> None:
    assert most_telling(iter(["", UNSAMPLED, SAMPLED])) == SAMPLED
    assert most_telling(iter(["", UNSAMPLED])) == UNSAMPLED
    assert most_telling(iter([""])) is None


def test_every_sampler_is_one_of_opentelemetry() -> None:
    descriptions = {
        sampler: sampler_of(TracingSettings(sampler=sampler, ratio=0.5)).get_description() for sampler in TraceSampler
    }
    assert "TraceIdRatioBased{0.5}" in descriptions[TraceSampler.PARENTBASED_TRACEIDRATIO]
    assert descriptions[TraceSampler.TRACEIDRATIO] == "TraceIdRatioBased{0.5}"
    assert descriptions[TraceSampler.ALWAYS_OFF] == "AlwaysOffSampler"
    assert len(set(descriptions.values())) == len(TraceSampler)


def test_sampled_is_what_the_flag_says() -> None:
    assert is_sampled(SAMPLED)
    assert is_sampled(f"{SAMPLED[:-2]}03")
    assert not is_sampled(f"{SAMPLED[:-2]}02")
