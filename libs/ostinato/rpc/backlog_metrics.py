"""How many reminders wait, as metrics: the same numbers from every engine."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ostinato.clock import Clock
from ostinato.storage.database import Database
from ostinato.taskqueue.reminders.reminder_store import ReminderBacklog, load_backlog

_LOOK_EVERY = 15.0  # seconds


class BacklogMetrics(Collector):
    """Register it once per process, and await `refresh` before it is shown."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._db: Database | None = None
        self._backlog: ReminderBacklog | None = None
        self._looked_at = float("-inf")

    def begin(self, db: Database) -> None:
        """The database is there."""
        self._db = db

    async def refresh(self) -> None:
        """Counts at most every 15 s. What it can't count now is left out."""
        monotonic = self._clock.monotonic()
        if self._db is None or monotonic - self._looked_at < _LOOK_EVERY:
            return
        self._looked_at, self._backlog = monotonic, None
        self._backlog = await load_backlog(self._db)

    def collect(self) -> Iterator[Metric]:
        if self._backlog is None:
            return
        waiting = GaugeMetricFamily("ostinato_taskqueue_reminders_depth", "Reminders, by state.", labels=("state",))
        waiting.add_metric(("waiting",), self._backlog.waiting)
        waiting.add_metric(("parked",), self._backlog.parked)
        yield waiting
        oldest = self._backlog.oldest
        yield GaugeMetricFamily(
            "ostinato_taskqueue_reminders_oldest_stale_seconds",
            "How long the stalest reminder that waits has been stale.",
            max(0.0, oldest.total_seconds()) if oldest is not None else 0.0,
        )
