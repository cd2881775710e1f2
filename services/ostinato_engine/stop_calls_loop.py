"""Stops calls of this process whose run somebody else has ended: aborted over the api, timed out by another engine."""

from __future__ import annotations

import logging
from datetime import timedelta

from ostinato.clock import Clock
from ostinato.errors import OstinatoError
from ostinato.jobstore.invocation_store import load_ended
from ostinato.storage.database import Database
from ostinato_engine.engine_metrics import EngineMetrics
from ostinato_engine.running_launches import RunningLaunches

_log = logging.getLogger(__name__)


class StopCallsLoop:
    """Asks the database only while calls are under way."""

    def __init__(
        self,
        db: Database,
        running: RunningLaunches,
        *,
        clock: Clock,
        metrics: EngineMetrics,
        every: timedelta = timedelta(seconds=1),
    ) -> None:
        self._db = db
        self._running = running
        self._clock = clock
        self._metrics = metrics
        self._every = every

    async def run(self) -> None:
        while True:
            await self._clock.sleep(self._every.total_seconds())
            try:
                await self.stop_ended()
            except OstinatoError as error:
                _log.warning("calls were not compared with their runs: %s", error)

    async def stop_ended(self) -> None:
        under_way = list(self._running.ids)
        if not under_way:
            return
        for invocation_id in await load_ended(self._db, under_way):
            _log.info("invocation %d has ended: its call is stopped", invocation_id)
            self._running.stop(invocation_id)
            self._metrics.stopped_calls.inc()
