"""Shows the plain counters of the queue's worker as metrics, when somebody asks for them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ostinato.taskqueue import Worker


class WorkerMetrics(Collector):
    """Register it once per worker."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def collect(self) -> Iterator[Metric]:
        tasks = CounterMetricFamily(
            "ostinato_taskqueue_tasks", "Tasks of this process by what happened to them.", labels=("event",)
        )
        for counter in fields(self._worker.stats):
            tasks.add_metric((counter.name,), getattr(self._worker.stats, counter.name))
        yield tasks
        yield GaugeMetricFamily("ostinato_taskqueue_running", "Tasks whose handler runs now.", self._worker.running)
        yield GaugeMetricFamily(
            "ostinato_taskqueue_lease_valid", "1 while this process may run tasks.", int(self._worker.lease_valid)
        )
