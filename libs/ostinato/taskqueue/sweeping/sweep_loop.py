"""Sweeps begin by themselves: any number of processes run this loop, and once per interval one of them begins one.

Nobody leads. A process that takes a turn and stalls or dies with it costs that turn; the next one is another's.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Protocol

from ostinato.clock import Clock
from ostinato.errors import OstinatoError
from ostinato.storage.database import Database
from ostinato.taskqueue.sweeping.sweep_stats import SweepStats
from ostinato.taskqueue.sweeping.sweep_turn_store import load_wait, take_turn

_log = logging.getLogger(__name__)
SWEEP_EVERY = timedelta(seconds=15)
_LEAST_WAIT = 0.05  # somebody else has the turn at this moment


class Sweeper(Protocol):
    stats: SweepStats

    async def sweep(self) -> None: ...


class SweepLoop:
    def __init__(self, db: Database, sweeper: Sweeper, clock: Clock, *, every: timedelta = SWEEP_EVERY) -> None:
        self._db = db
        self._sweeper = sweeper
        self._clock = clock
        self._every = every

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            await self._clock.sleep(max(_LEAST_WAIT, await self.run_once()))

    async def run_once(self) -> float:
        """Begins a sweep if it is time; returns the seconds after which it may be again."""
        try:
            if await take_turn(self._db, self._every):
                self._sweeper.stats.begun += 1
                await self._sweeper.sweep()
            return (await load_wait(self._db, self._every)).total_seconds()
        except OstinatoError as error:
            self._sweeper.stats.begin_failures += 1
            _log.warning("no sweep was begun, the next one will be: %s", error)
            return self._every.total_seconds() / 15
