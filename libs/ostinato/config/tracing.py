"""Where traces go, by the variables that OpenTelemetry defines for every program."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from ostinato.config.environment import EnvironmentReader

EXPORTER = "OTEL_TRACES_EXPORTER"
SAMPLER_ARG = "OTEL_TRACES_SAMPLER_ARG"
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")


class TraceExporter(StrEnum):
    NONE = "none"
    OTLP = "otlp"
    CONSOLE = "console"  # stderr


class TraceSampler(StrEnum):
    """Which requests from outside begin a recorded trace; `parentbased_…` leaves it to a caller that has one."""

    PARENTBASED_ALWAYS_ON = "parentbased_always_on"
    PARENTBASED_ALWAYS_OFF = "parentbased_always_off"
    PARENTBASED_TRACEIDRATIO = "parentbased_traceidratio"
    ALWAYS_ON = "always_on"
    ALWAYS_OFF = "always_off"
    TRACEIDRATIO = "traceidratio"


class _Protocol(StrEnum):
    GRPC = "grpc"


@dataclass(frozen=True, slots=True)
class TracingSettings:
    """`ratio`: the part of traces that the ratio samplers keep, 0 to 1."""

    exporter: TraceExporter = TraceExporter.NONE
    sampler: TraceSampler = TraceSampler.PARENTBASED_ALWAYS_ON
    ratio: float = 1.0


def read_tracing(reader: EnvironmentReader) -> TracingSettings:
    """An endpoint alone turns the export on."""
    endpoints = [reader.url(name, "", schemes=("http", "https")) for name in _ENDPOINTS]
    for name in _PROTOCOLS:
        reader.choice(name, _Protocol.GRPC)
    exporter = reader.choice(EXPORTER, TraceExporter.OTLP if any(endpoints) else TraceExporter.NONE)
    disabled = reader.switch("OTEL_SDK_DISABLED", default=False)
    return TracingSettings(
        exporter=TraceExporter.NONE if disabled else exporter,
        sampler=reader.choice("OTEL_TRACES_SAMPLER", TraceSampler.PARENTBASED_ALWAYS_ON),
        ratio=_read_ratio(reader),
    )


def _read_ratio(reader: EnvironmentReader) -> float:
    text = reader.given(SAMPLER_ARG)
    try:
        ratio = float(text or 1)
    except ValueError:
        ratio = math.nan
    if not 0 <= ratio <= 1:
        reader.refuse(SAMPLER_ARG, "must be a number from 0 to 1")
        return 1.0
    return ratio
