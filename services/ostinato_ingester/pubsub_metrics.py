"""What is counted of subscriptions that are pulled."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge


class PubSubMetrics:
    """Registered only where there are subscriptions."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.streams = Gauge(
            "ostinato_ingester_pubsub_streams", "Subscriptions that are being pulled now.", registry=registry
        )
        self.held = Gauge(
            "ostinato_ingester_pubsub_held", "Messages that were delivered and not answered yet.", registry=registry
        )
        self.failures = Counter(
            "ostinato_ingester_pubsub_failures",
            "Streams that broke and calls that failed, by the reason.",
            ("reason",),
            registry=registry,
        )
