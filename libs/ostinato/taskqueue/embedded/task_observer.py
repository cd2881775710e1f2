"""Watches the runs of one task class: counts how late and how long they are, and gives the recorded ones a span."""

from __future__ import annotations

from collections.abc import Sequence

from ostinato.taskqueue.embedded.lease import Lease
from ostinato.taskqueue.embedded.task_spans import begin_spans
from ostinato.taskqueue.embedded.worker_stats import ClassStats
from ostinato.taskqueue.task_context import TaskContext
from ostinato.telemetry.spans import OFF, Spans


class TaskObserver:
    """Called once per batch, and cheap: less than a microsecond per task while tracing is off."""

    def __init__(self, stats: ClassStats, lease: Lease, spans: Spans = OFF) -> None:
        self._stats = stats
        self._lease = lease
        self._spans = spans

    def started(self, tasks: Sequence[TaskContext], monotonic: float) -> None:
        """Lateness is by the database's clock, which set the times when tasks are due."""
        now = self._lease.db_now(monotonic)
        latency = self._stats.latency
        for task in tasks:
            task.started_at = monotonic
            latency.add((now - task.eta).total_seconds())
        if self._spans.on:
            begin_spans(self._spans, tasks)

    def ended(self, tasks: Sequence[TaskContext], seconds: float) -> None:
        self._stats.duration.add(seconds, len(tasks))
