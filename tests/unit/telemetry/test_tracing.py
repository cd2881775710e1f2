"""Trace context across processes."""

from __future__ import annotations

import pytest

from ostinato.telemetry.tracing import current_traceparent, use_traceparent

HEADER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_a_trace_is_carried_on() -> None:
    with use_traceparent(HEADER):
        assert current_traceparent() == HEADER
    assert current_traceparent() is None


def test_work_without_a_trace_does_not_inherit_its_callers() -> None:
    with use_traceparent(HEADER):
        with use_traceparent(None):
            assert current_traceparent() is None
        assert current_traceparent() == HEADER


@pytest.mark.parametrize(
    "header", ["", "nonsense", f"{HEADER}-x", HEADER.replace("4bf92f3577b34da6a3ce929d0e0e4736", "0" * 32)]
)
def test_a_malformed_header_is_no_trace(header: str) -> None:
    with use_traceparent(header):
        assert current_traceparent() is None
