"""Fires what schedules are due: any number of engines run this loop, each due row is fired by one of them.

Moving the row on and emitting its trigger are one commit, so no slot is lost or fired twice; a tick needs no row
but its own, and what was missed while nobody ran costs the same however much it is. A row that can't be
understood is looked at again every minute and keeps its slot: another release of the engine may understand it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from ostinato.clock import Clock
from ostinato.errors import OstinatoError
from ostinato.jobflow.emit_triggers import Emission, emit_triggers
from ostinato.jobflow.poke_cron import cached_schedule
from ostinato.jobstore.job_cron_store import (
    JobCronRow,
    find_wait,
    lock_due_crons,
    postpone_crons,
    save_cron_states,
)
from ostinato.jobstore.occurrence_store import Occurrence, insert_occurrences
from ostinato.jobstore.triage_store import set_job_error
from ostinato.pb.scheduler.v1.triggers_pb2 import CronPayload, Trigger
from ostinato.scheduling.cron_machine import FiredSlot, SkippedRange, on_due
from ostinato.scheduling.occurrence import OccurrenceOutcome
from ostinato.scheduling.trigger import cron_trigger_id
from ostinato.storage.database import Database
from ostinato.storage.transaction import Tx
from ostinato.taskqueue import Dispatcher
from ostinato_engine.engine_metrics import EngineMetrics

_log = logging.getLogger(__name__)
_BATCH = 500
_LONGEST_SLEEP = timedelta(seconds=1)
_HELD_ELSEWHERE = timedelta(milliseconds=20)
_BROKEN_AGAIN = timedelta(minutes=1)
_LEAST_BACKOFF = timedelta(milliseconds=50)
_MOST_BACKOFF = timedelta(seconds=10)


@dataclass(slots=True)
class _Ticks:
    """What becomes of one batch of due rows."""

    now: datetime
    moved: list[JobCronRow] = field(default_factory=list)
    emissions: list[Emission] = field(default_factory=list)
    skipped: list[Occurrence] = field(default_factory=list)
    lateness: list[timedelta] = field(default_factory=list)
    broken: dict[int, str] = field(default_factory=dict)


class CronLoop:
    """Sleeps until the next due time, at most a second: what becomes due earlier meanwhile is that late at worst."""

    def __init__(self, db: Database, dispatcher: Dispatcher, *, clock: Clock, metrics: EngineMetrics) -> None:
        self._db = db
        self._dispatcher = dispatcher
        self._clock = clock
        self._metrics = metrics
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
            return _LONGEST_SLEEP
        if wait > timedelta(0):
            return min(wait, _LONGEST_SLEEP)
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
        return len(rows)

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
        try:
            _tick(ticks, row)
        except Exception as error:  # noqa: BLE001 - one row must not stop the clock of all the others
            _log.exception("the schedule %r of %s can't be followed", row.schedule, row.job_name)
            ticks.broken[row.job_id] = f"the schedule `{row.schedule}` can't be followed: {error}"
    return ticks


def _tick(ticks: _Ticks, row: JobCronRow) -> None:
    schedule = cached_schedule(row.schedule)
    step = on_due(row.state, schedule, ticks.now)
    if step.fired is None:
        raise ValueError(f"its row is due, but its state is not: {row.state}")
    ticks.moved.append(replace(row, state=step.state))
    ticks.emissions.append(_emission(row, step.fired, ticks.now, in_ledger=schedule.is_absolute))
    ticks.lateness.append(ticks.now - step.fired.slot)
    if step.skipped is not None:
        ticks.skipped.append(_skipped(row, step.skipped))


def _emission(row: JobCronRow, fired: FiredSlot, now: datetime, *, in_ledger: bool) -> Emission:
    trigger = Trigger(id=cron_trigger_id(fired.generation), cron=CronPayload(generation=fired.generation))
    trigger.create_time.FromDatetime(now)
    trigger.cron.slot.FromDatetime(fired.slot)
    return Emission(row.job_id, row.project_id, trigger, fired.slot if in_ledger else None)


def _skipped(row: JobCronRow, skipped: SkippedRange) -> Occurrence:
    return Occurrence(
        job_id=row.job_id,
        slot=skipped.from_slot,
        outcome=OccurrenceOutcome.SKIPPED_CATCHUP,
        until_slot=skipped.until_slot,
    )


async def _apply(tx: Tx, dispatcher: Dispatcher, ticks: _Ticks) -> None:
    await save_cron_states(tx, ticks.moved)
    if ticks.broken:
        await postpone_crons(tx, ticks.broken, ticks.now + _BROKEN_AGAIN)
    await insert_occurrences(tx, ticks.skipped, now=ticks.now)
    for job_id, emitted in (await emit_triggers(tx, dispatcher, ticks.emissions)).items():
        if emitted.duplicates:
            # Only an id that was not made by a cron machine can be in the way.
            _log.error("job %d: the slot of trigger %s was taken by another trigger", job_id, emitted.duplicates[0])
