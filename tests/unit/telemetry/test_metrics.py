"""Registries of metrics."""

from __future__ import annotations

from prometheus_client import Counter, generate_latest

from ostinato.telemetry.metrics import open_registry


def test_two_registries_do_not_share_metrics() -> None:
    one, other = open_registry(), open_registry()
    Counter("launches", "Launches.", registry=one).inc()
    assert b"launches_total 1.0" in generate_latest(one)
    assert b"launches_total" not in generate_latest(other)


def test_a_registry_tells_of_the_process_itself() -> None:
    assert b"python_info" in generate_latest(open_registry())
