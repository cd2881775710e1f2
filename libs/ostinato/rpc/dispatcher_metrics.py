"""Shows how many tasks a process added, when somebody asks for it."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from ostinato.jobflow.task_queue import TaskQueue
from ostinato.rpc.reminder_metrics import ReminderMetrics
from ostinato.rpc.sweep_metrics import SweepMetrics
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
            added.add_metric((", ".join(task_class.queues), task_class.name), count)
        yield added


def register_queue_metrics(registry: CollectorRegistry, queue: TaskQueue) -> None:
    """What a process counts of the tasks that it adds."""
    registry.register(DispatcherMetrics(queue.dispatcher))
    if queue.remote is not None:
        registry.register(ReminderMetrics(queue.remote.submissions.stats))
    if queue.sweeping is not None:
        registry.register(SweepMetrics(queue.sweeping.stats, queue.sweeping.leases))
