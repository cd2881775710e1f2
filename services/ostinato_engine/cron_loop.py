"""Fires what schedules are due: any number of engines run this loop, each due row is fired by one of them.

Moving the row on and emitting its trigger are one commit, so no slot is lost or fired twice; a tick needs no row
but its own, and what was missed while nobody ran costs the same however much it is. A row that can't be
understood is looked at again every minute and keeps its slot: another release of the engine may understand it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from ostinato.clock import Clock
from ostinato.errors import OstinatoError
from ostinato.jobflow.fire_slots import Firing, apply_firings, decide_firing
from ostinato.jobflow.timetables import cached_timetable
from ostinato.jobstore.job_cron_store import (
    JobCronRow,
    find_wait,
    lock_due_crons,
    postpone_crons,
    save_cron_states,
)
from ostinato.jobstore.triage_store import set_job_error
from ostinato.storage.database import Database
from ostinato.storage.transaction import Tx
from ostinato.taskqueue import Dispatcher
from ostinato_engine.engine_metrics import EngineMetrics

_log = logging.getLogger(__name__)
_BATCH = 500
_MOST_TRIGGERS = 5_000  # of a batch; jobs that make up for many slots leave the rest of it to the next
_HELD_ELSEWHERE = timedelta(milliseconds=20)
_BROKEN_AGAIN = timedelta(minutes=1)
_LEAST_BACKOFF = timedelta(milliseconds=50)
_MOST_BACKOFF = timedelta(seconds=5)


@dataclass(slots=True)
class _Ticks:
    """What becomes of one batch of due rows. `lateness` is that of each slot that fires."""

    now: datetime
    firings: list[Firing] = field(default_factory=list)
    lateness: list[timedelta] = field(default_factory=list)
    broken: dict[int, str] = field(default_factory=dict)


class CronLoop:
    """Sleeps until the next due time. What becomes due earlier meanwhile is at worst `longest_sleep` late."""

    def __init__(
        self,
        db: Database,
        dispatcher: Dispatcher,
        *,
        clock: Clock,
        metrics: EngineMetrics,
        longest_sleep: timedelta = timedelta(seconds=1),
    ) -> None:
        self._db = db
        self._dispatcher = dispatcher
        self._clock = clock
        self._metrics = metrics
        self._longest_sleep = longest_sleep
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Something may be due sooner than this loop thinks."""
        self._woken.set()

    async def run(self) -> None:
        failures = 0
        while True:
            try:
                pause = await self.look_once()
                failures = 0
            except OstinatoError as error:
                failures += 1
                pause = min(_MOST_BACKOFF, _LEAST_BACKOFF * 2 ** min(failures, 10))
                _log.warning("schedules were not looked at, again in %s: %s", pause, error)
            await self._pause(pause)

    async def look_once(self) -> timedelta:
        """Fires one batch if any is due; returns how long nothing is going to be."""
        wait = await find_wait(self._db)
        if wait is None:
            return self._longest_sleep
        if wait > timedelta(0):
            return min(wait, self._longest_sleep)
        return timedelta(0) if await self.fire_due() else _HELD_ELSEWHERE

    async def fire_due(self) -> int:
        """One batch, one transaction. How many rows were looked at: 0 also when others hold all that is due."""
        async with self._db.transaction() as tx:
            rows = await lock_due_crons(tx, _BATCH)
            if not rows:
                return 0
            ticks = _decide(rows, await tx.now())
            await _apply(tx, self._dispatcher, ticks)
        self._count(ticks)
        for job_id, problem in ticks.broken.items():
            await self._tell(job_id, problem)
        return len(ticks.firings) + len(ticks.broken)

    def _count(self, ticks: _Ticks) -> None:
        self._metrics.ticks.inc(len(ticks.lateness))
        self._metrics.broken_ticks.inc(len(ticks.broken))
        for lateness in ticks.lateness:
            self._metrics.tick_lateness.observe(lateness.total_seconds())

    async def _tell(self, job_id: int, problem: str) -> None:
        # After the commit, because the lock of a job comes before that of its cron row.
        async with self._db.transaction() as tx:
            await set_job_error(tx, job_id, problem)

    async def _pause(self, pause: timedelta) -> None:
        if pause <= timedelta(0):
            return
        sleeping = asyncio.ensure_future(self._clock.sleep(pause.total_seconds()))
        waking = asyncio.ensure_future(self._woken.wait())
        try:
            await asyncio.wait((sleeping, waking), return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()
            waking.cancel()
        self._woken.clear()


def _decide(rows: Sequence[JobCronRow], now: datetime) -> _Ticks:
    ticks = _Ticks(now)
    for row in rows:
        if len(ticks.lateness) >= _MOST_TRIGGERS:
            break
        try:
            _tick(ticks, row)
        except Exception as error:  # noqa: BLE001 - one row must not stop the clock of all the others
            _log.exception("the schedule %r of %s can't be followed", row.schedule, row.job_name)
            ticks.broken[row.job_id] = f"the schedule `{row.schedule}` can't be followed: {error}"
    return ticks


def _tick(ticks: _Ticks, row: JobCronRow) -> None:
    schedule = cached_timetable(row.schedule, row.terms, row.job_name)
    firing = decide_firing(row, schedule, ticks.now)
    if firing is None or row.state.slot is None:
        raise ValueError(f"its row is due, but its state is not: {row.state}")
    ticks.firings.append(firing)
    ticks.lateness += [ticks.now - fired.due_at for fired in firing.fired]


async def _apply(tx: Tx, dispatcher: Dispatcher, ticks: _Ticks) -> None:
    await save_cron_states(tx, [firing.row for firing in ticks.firings])
    if ticks.broken:
        await postpone_crons(tx, ticks.broken, ticks.now + _BROKEN_AGAIN)
    for job_id, emitted in (await apply_firings(tx, dispatcher, ticks.firings, ticks.now)).items():
        if emitted.duplicates:
            # Only an id that was not made by a cron machine can be in the way.
            _log.error("job %d: the slot of trigger %s was taken by another trigger", job_id, emitted.duplicates[0])
