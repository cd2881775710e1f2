"""Shows the plain counters of the queue's worker as metrics, when somebody asks for them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from ostinato.taskqueue import BUCKET_ENDS, CLASS_EVENTS, ClassStats, TimeHistogram, Worker

_CLASS = ("queue", "class")


class WorkerMetrics(Collector):
    """Register it once per worker."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def collect(self) -> Iterator[Metric]:
        stats = self._worker.stats
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
        yield GaugeMetricFamily("ostinato_taskqueue_running", "Tasks whose handler runs now.", self._worker.running)
        yield GaugeMetricFamily(
            "ostinato_taskqueue_lease_valid", "1 while this process may run tasks.", int(self._worker.lease_valid)
        )


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
        _add(latency, stats, stats.latency)
        _add(duration, stats, stats.duration)
    yield latency
    yield duration


def _add(metric: HistogramMetricFamily, stats: ClassStats, times: TimeHistogram) -> None:
    ends = (*(f"{end:.6g}" for end in BUCKET_ENDS), "+Inf")
    buckets = list(zip(ends, accumulate(times.counts), strict=True))
    metric.add_metric((stats.queue, stats.name), buckets, times.total)
