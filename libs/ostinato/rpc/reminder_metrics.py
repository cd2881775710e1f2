"""Shows what became of tasks on their way to a remote queue, when somebody asks for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from ostinato.rpc.time_buckets import add_times
from ostinato.taskqueue.reminders.reminder_stats import ReminderStats

_CLASS = ("class",)


class ReminderMetrics(Collector):
    """Register it once per process whose tasks go to a remote queue."""

    def __init__(self, stats: ReminderStats) -> None:
        self._stats = stats

    def collect(self) -> Iterator[Metric]:
        stats = self._stats
        yield from _written(stats)
        yield from _requests(stats)
        yield _by_class(
            CounterMetricFamily(
                "ostinato_taskqueue_reminders_refused",
                "Answers by which the remote queue refused a task.",
                labels=_CLASS,
            ),
            stats.refused,
        )
        yield _by_class(
            CounterMetricFamily(
                "ostinato_taskqueue_reminders_parked",
                "Tasks that were refused for too long and parked here.",
                labels=_CLASS,
            ),
            stats.parked,
        )
        yield CounterMetricFamily(
            "ostinato_taskqueue_reminders_missing",
            "Reminders that a sweep found and somebody else had handed over before it came to them.",
            stats.missing,
        )
        yield CounterMetricFamily(
            "ostinato_taskqueue_reminders_save_failures",
            "Groups of answers that the database could not be told.",
            stats.save_failures,
        )


def _written(stats: ReminderStats) -> Iterator[Metric]:
    written = CounterMetricFamily(
        "ostinato_taskqueue_reminders",
        "Reminders that this process committed, by whether they were still its own to submit.",
        labels=("class", "state"),
    )
    for state, counts in (("fresh", stats.fresh), ("stale", stats.stale)):
        for task_class, count in counts.items():
            written.add_metric((task_class, state), count)
    yield written
    yield _by_class(
        CounterMetricFamily(
            "ostinato_taskqueue_reminders_left_behind",
            "Fresh reminders that were left to the sweepers: too many at once, too slow, or at the end of a process.",
            labels=_CLASS,
        ),
        stats.left_behind,
    )


def _requests(stats: ReminderStats) -> Iterator[Metric]:
    submits = HistogramMetricFamily(
        "ostinato_taskqueue_submit_seconds",
        "Requests to the remote queue and how long it took to answer them.",
        labels=("queue", "class", "path", "code"),
    )
    for key, times in stats.submits.items():
        add_times(submits, (key.queue, key.task_class, key.path, key.code), times)
    yield submits
    processed = HistogramMetricFamily(
        "ostinato_taskqueue_reminder_age_seconds",
        "From when a reminder was made to its end here, because its task was handed over.",
        labels=("class", "path"),
    )
    for ended, times in stats.processed.items():
        add_times(processed, (ended.task_class, ended.path), times)
    yield processed


def _by_class(metric: CounterMetricFamily, counts: Mapping[str, int]) -> Metric:
    for task_class, count in counts.items():
        metric.add_metric((task_class,), count)
    return metric
