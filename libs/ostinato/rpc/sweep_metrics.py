"""Shows what sweeps found and did, when somebody asks for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from ostinato.rpc.time_buckets import add_times
from ostinato.taskqueue.sweeping.lessor import LessorStats
from ostinato.taskqueue.sweeping.sweep_stats import SweepStats


class SweepMetrics(Collector):
    """Register it once per process that sweeps. `all_stats`: of each of its sweepers."""

    def __init__(self, all_stats: Sequence[SweepStats], leases: LessorStats) -> None:
        self._all_stats = all_stats
        self._leases = leases

    def collect(self) -> Iterator[Metric]:
        yield from self._counts()
        yield from self._scans()
        yield self._durations()
        leases = CounterMetricFamily(
            "ostinato_taskqueue_sweep_leases", "Leases on ranges of reminders, by what became of them.", labels=("end",)
        )
        for end in ("taken", "empty", "expired", "failed"):
            leases.add_metric((end,), getattr(self._leases, end))
        yield leases

    def _counts(self) -> Iterator[Metric]:
        every = self._all_stats
        yield CounterMetricFamily(
            "ostinato_taskqueue_sweeps_begun",
            "Sweeps that this process began for all.",
            sum(stats.begun for stats in every),
        )
        yield CounterMetricFamily(
            "ostinato_taskqueue_sweeps_not_begun",
            "Sweeps that could not be begun.",
            sum(stats.begin_failures for stats in every),
        )
        yield CounterMetricFamily(
            "ostinato_taskqueue_sweep_ranges_given_up",
            "Ranges that were left to the next sweep.",
            sum(stats.given_up for stats in every),
        )
        yield CounterMetricFamily(
            "ostinato_taskqueue_sweep_batches",
            "Batches of reminders that sweeps submitted.",
            sum(stats.batches for stats in every),
        )
        yield CounterMetricFamily(
            "ostinato_taskqueue_sweep_tasks_failed",
            "Tasks of sweeps that failed, if only in part.",
            sum(stats.tasks_failed for stats in every),
        )

    def _scans(self) -> Iterator[Metric]:
        scans = HistogramMetricFamily(
            "ostinato_taskqueue_sweep_scan_seconds", "Scans of ranges of reminders.", labels=("level", "status")
        )
        staleness = HistogramMetricFamily(
            "ostinato_taskqueue_sweep_staleness_seconds",
            "How stale the reminders were that scans read.",
            labels=("level",),
        )
        scanned = Counter[tuple[str, str]]()
        for stats in self._all_stats:
            for key, times in stats.scans.items():
                add_times(scans, (str(key.level), key.status), times)
            for level, times in stats.staleness.items():
                add_times(staleness, (str(level),), times)
            for key, count in stats.scanned.items():
                scanned[str(key.level), key.status] += count
        read = CounterMetricFamily(
            "ostinato_taskqueue_sweep_scanned", "Reminders that scans read.", labels=("level", "status")
        )
        for labels, count in scanned.items():
            read.add_metric(labels, count)
        yield from (scans, staleness, read)

    def _durations(self) -> Metric:
        durations = HistogramMetricFamily(
            "ostinato_taskqueue_sweep_seconds",
            "Whole sweeps in one process, and tasks of distributed ones.",
            labels=("what",),
        )
        for stats in self._all_stats:
            for what, times in (("sweep", stats.sweeps), ("task", stats.tasks)):
                if any(times.counts):
                    add_times(durations, (what,), times)
        return durations
