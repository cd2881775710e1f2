"""How full the queues are, as metrics: the same numbers from every engine."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ostinato.clock import Clock
from ostinato.rpc.backlog_metrics import BacklogMetrics
from ostinato.storage.database import Database
from ostinato.taskqueue import QueueMeasure

_STATES = ("ready", "claimed", "later", "dead")


class QueueMetrics(Collector):
    """Nothing before the database was asked, and nothing while it has been away for minutes."""

    def __init__(self, measure: QueueMeasure) -> None:
        self._measure = measure

    def collect(self) -> Iterator[Metric]:
        tasks = GaugeMetricFamily("ostinato_taskqueue_depth", "Tasks in a queue, by state.", labels=("queue", "state"))
        oldest = GaugeMetricFamily(
            "ostinato_taskqueue_oldest_due_seconds",
            "Since when the oldest unclaimed task of a queue is due.",
            labels=("queue",),
        )
        for depth in self._measure.depths:
            for state in _STATES:
                tasks.add_metric((depth.name, state), getattr(depth, state))
            oldest.add_metric((depth.name,), depth.oldest)
        yield tasks
        yield oldest


class QueueMeasures:
    """All of a process that have to be looked up. `reminders`: also those of a remote queue."""

    def __init__(self, clock: Clock, registry: CollectorRegistry, *, reminders: bool) -> None:
        self._depths = QueueMeasure(clock)
        self._backlog = BacklogMetrics(clock) if reminders else None
        registry.register(QueueMetrics(self._depths))
        if self._backlog is not None:
            registry.register(self._backlog)

    def begin(self, db: Database) -> None:
        """The database is there."""
        self._depths.begin(db)
        if self._backlog is not None:
            self._backlog.begin(db)

    async def refresh(self) -> None:
        """To be awaited before metrics are shown."""
        await self._depths.refresh()
        if self._backlog is not None:
            await self._backlog.refresh()
