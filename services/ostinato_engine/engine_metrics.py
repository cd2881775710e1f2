"""What the engine counts. One object per process, given to whoever counts."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge


class EngineMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self.launches = Counter(
            "ostinato_engine_launches", "Launch attempts by what they led to.", ("outcome",), registry=registry
        )
        self.notifications = Counter(
            "ostinato_engine_notifications", "Notifications by what became of them.", ("outcome",), registry=registry
        )
        self.timed_out = Counter("ostinato_engine_runs_timed_out", "Runs ended by their timeout.", registry=registry)
        self.stopped_calls = Counter(
            "ostinato_engine_calls_stopped", "Calls stopped because their run had ended.", registry=registry
        )
        self.purged_triggers = Counter(
            "ostinato_engine_triggers_purged", "Remembered trigger ids that were forgotten.", registry=registry
        )
        self.partitions_ahead = Gauge(
            "ostinato_engine_partition_weeks_ahead",
            "Whole weeks ahead that have partitions, in the table that has fewest. Alarm below 2.",
            registry=registry,
        )
