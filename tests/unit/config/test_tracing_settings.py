"""The standard OTEL variables, read and refused like our own."""

from __future__ import annotations

import pytest

from ostinato.config import InvalidSettings
from ostinato.config.environment import EnvironmentReader
from ostinato.config.tracing import TraceExporter, TraceSampler, TracingSettings, read_tracing


def read(**environ: str) -> TracingSettings:
    reader = EnvironmentReader(environ)
    settings = read_tracing(reader)
    reader.finish()
    return settings


def test_nothing_is_exported_by_default() -> None:
    assert read() == TracingSettings(TraceExporter.NONE, TraceSampler.PARENTBASED_ALWAYS_ON, 1.0)


@pytest.mark.parametrize("name", ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"])
def test_an_endpoint_turns_the_export_on(name: str) -> None:
    assert read(**{name: "http://collector:4317"}).exporter is TraceExporter.OTLP
    assert read(**{name: "http://collector:4317"}, OTEL_TRACES_EXPORTER="none").exporter is TraceExporter.NONE


def test_disabling_the_sdk_wins_over_everything() -> None:
    assert read(OTEL_SDK_DISABLED="true", OTEL_TRACES_EXPORTER="console").exporter is TraceExporter.NONE


def test_sampler_and_ratio_are_read() -> None:
    settings = read(OTEL_TRACES_SAMPLER="parentbased_traceidratio", OTEL_TRACES_SAMPLER_ARG="0.25")
    assert (settings.sampler, settings.ratio) == (TraceSampler.PARENTBASED_TRACEIDRATIO, 0.25)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        ("OTEL_TRACES_EXPORTER", "jaeger"),
        ("OTEL_TRACES_SAMPLER", "sometimes"),
        ("OTEL_TRACES_SAMPLER_ARG", "1.5"),
        ("OTEL_TRACES_SAMPLER_ARG", "nan"),
        ("OTEL_TRACES_SAMPLER_ARG", "much"),
        ("OTEL_SDK_DISABLED", "perhaps"),
    ],
)
def test_a_value_that_means_nothing_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(InvalidSettings) as caught:
        read(**{name: value})
    assert [violation.path for violation in caught.value.violations] == [name]
