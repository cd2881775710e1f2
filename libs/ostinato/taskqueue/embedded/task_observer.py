"""Watches the runs of one task class: how late and how long they are; and starts spans for those that are recorded."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from ostinato.taskqueue.embedded.worker_stats import ClassStats
from ostinato.taskqueue.task_context import TaskContext
from ostinato.telemetry.spans import OFF, Spans


class QueueTime(Protocol):
    """The clock that set the times when tasks are due."""

    def db_now(self, monotonic: float) -> datetime: ...


class TaskObserver:
    """Measures turns of a runner, because measuring each quick task would cost a tenth of it."""

    def __init__(self, stats: ClassStats, lease: QueueTime, spans: Spans = OFF) -> None:
        self.spans = spans
        self._stats = stats
        self._lease = lease

    def ran(self, first: TaskContext, count: int, seconds: float) -> None:
        """`count` tasks were as late as the first of them and took `seconds` each, or as a batch.

        Lateness is by the database's clock, which set the times when tasks are due.
        """
        late = self._lease.db_now(first.started_at) - first.eta
        self._stats.latency.add(late.total_seconds(), count)
        self._stats.duration.add(seconds, count)
