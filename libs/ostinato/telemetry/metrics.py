"""Metrics are objects in a registry that is passed on explicitly: two services in one process don't mix."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector


def open_registry() -> CollectorRegistry:
    """A registry with what every process reports: CPU, memory, file descriptors, garbage collection."""
    registry = CollectorRegistry(auto_describe=True)
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry
