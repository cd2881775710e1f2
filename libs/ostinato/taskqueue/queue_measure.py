"""How full the queues are, for metrics: looked up only when somebody asks, and counted by one process for all."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

from ostinato.clock import Clock
from ostinato.storage.database import Database
from ostinato.taskqueue.embedded.measure_store import Measure, QueueDepth, count_if_due, load_measure

COUNT_EVERY = timedelta(seconds=15)  # over all processes
LOOK_EVERY = 5.0  # seconds, in this process
TOO_OLD = timedelta(minutes=5)


class QueueMeasure:
    """`depths` is what the last `refresh` found; empty before `begin`, and when nobody could count for minutes."""

    def __init__(self, clock: Clock) -> None:
        self.depths: tuple[QueueDepth, ...] = ()
        self._db: Database | None = None
        self._clock = clock
        self._looked_at = float("-inf")

    def begin(self, db: Database) -> None:
        """The database is there."""
        self._db = db

    async def refresh(self) -> None:
        """At most one statement each five seconds, and a few more when it is this process's turn to count."""
        monotonic = self._clock.monotonic()
        if self._db is None or monotonic - self._looked_at < LOOK_EVERY:
            return
        self._looked_at = monotonic
        self.depths = ()
        measure = await _look(self._db)
        if measure.age <= TOO_OLD:
            self.depths = measure.depths


async def _look(db: Database) -> Measure:
    measure = await load_measure(db, COUNT_EVERY)
    if measure.is_due and await db.transact(partial(count_if_due, every=COUNT_EVERY)):
        return await load_measure(db, COUNT_EVERY)
    return measure
