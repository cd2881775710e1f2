"""Shows how many tasks a process added, when somebody asks for it."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from ostinato.taskqueue import Dispatcher


class DispatcherMetrics(Collector):
    """Register it once per dispatcher."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher

    def collect(self) -> Iterator[Metric]:
        added = CounterMetricFamily(
            "ostinato_taskqueue_added", "Tasks that this process added and committed.", labels=("queue", "class")
        )
        for task_class, count in self._dispatcher.added.items():
            added.add_metric((task_class.queue, task_class.name), count)
        yield added
