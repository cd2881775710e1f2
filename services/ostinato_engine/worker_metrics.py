"""Shows the plain counters of the process's tasks as metrics, when somebody asks for them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from ostinato.rpc.time_buckets import add_times
from ostinato.taskqueue import CLASS_EVENTS, ClassStats
from ostinato.taskqueue.cloud_tasks.push_answers import REJECTIONS
from ostinato_engine.tasks_at_work import TasksAtWork

_CLASS = ("queue", "class")


class WorkerMetrics(Collector):
    """Register it once per process."""

    def __init__(self, at_work: TasksAtWork) -> None:
        self._at_work = at_work

    def collect(self) -> Iterator[Metric]:
        worker = self._at_work.worker
        stats = worker.stats
        known = [*stats.classes.values(), stats.unknown]
        yield _events(known)
        yield from _times(known)
        yield CounterMetricFamily(
            "ostinato_taskqueue_rejected", "Tasks that ended here but were no longer this process's.", stats.rejected
        )
        yield CounterMetricFamily(
            "ostinato_taskqueue_reaped", "Tasks that this process freed from dead ones.", stats.reaped
        )
        yield CounterMetricFamily(
            "ostinato_taskqueue_rescued", "Tasks that this process found without an owner.", stats.rescued
        )
        yield GaugeMetricFamily("ostinato_taskqueue_running", "Tasks whose handler runs now.", self._at_work.running)
        yield GaugeMetricFamily(
            "ostinato_taskqueue_lease_valid", "1 while this process may run tasks.", int(worker.lease_valid)
        )
        if self._at_work.receiver is not None:
            yield _rejected(self._at_work.receiver.rejected)


def _rejected(reasons: Mapping[str, int]) -> Metric:
    rejected = CounterMetricFamily(
        "ostinato_taskqueue_pushes_rejected", "Pushes that did not get to a handler, by the reason.", labels=("reason",)
    )
    for reason in REJECTIONS:  # also those that never happened: what begins at one does not look like growth
        rejected.add_metric((reason,), reasons.get(reason, 0))
    return rejected


def _events(known: list[ClassStats]) -> Metric:
    tasks = CounterMetricFamily(
        "ostinato_taskqueue_tasks", "Tasks of this process by what happened to them.", labels=(*_CLASS, "event")
    )
    for stats in known:
        for event in CLASS_EVENTS:
            tasks.add_metric((stats.queue, stats.name, event), getattr(stats, event))
    return tasks


def _times(known: list[ClassStats]) -> Iterator[Metric]:
    latency = HistogramMetricFamily(
        "ostinato_taskqueue_latency_seconds", "From when a task was due to the start of its handler.", labels=_CLASS
    )
    duration = HistogramMetricFamily(
        "ostinato_taskqueue_duration_seconds", "How long the handler of a task, or of its batch, ran.", labels=_CLASS
    )
    for stats in known:
        add_times(latency, (stats.queue, stats.name), stats.latency)
        add_times(duration, (stats.queue, stats.name), stats.duration)
    yield latency
    yield duration
