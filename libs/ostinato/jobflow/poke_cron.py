"""Brings the cron rows of locked jobs in line with what the jobs are now: enabled, paused, and on which schedule.

Which event of the cron machine that is follows from the row and the job alone, so callers say what a job is,
not what happened to it. Pausing is a change of schedule to `triggered`. Lock order: job, then job_cron.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache

from ostinato.jobflow.fire_slots import Firing, apply_firings, decide_firing
from ostinato.jobstore.job_cron_store import (
    JobCronRow,
    lock_crons,
    lock_crons_waiting_for_rewind,
    save_cron_states,
    save_crons,
)
from ostinato.jobstore.job_store import JobId
from ostinato.jobstore.schedule_span_store import ScheduleSpan, add_spans
from ostinato.scheduling.cron_machine import CronState, disable, enable, on_schedule_change, rewind_if_necessary
from ostinato.scheduling.schedule import Schedule, ScheduleError, parse_schedule
from ostinato.storage.transaction import Tx
from ostinato.taskqueue import Dispatcher

TRIGGERED = "triggered"
_NEVER_ENABLED = CronState()


@dataclass(frozen=True, slots=True)
class CronWish:
    """What a locked job is now. `schedule` is the text of its definition."""

    job_id: JobId
    project_id: int
    job_name: str
    schedule: str
    enabled: bool
    paused: bool
    revision: str

    @property
    def effective_schedule(self) -> str:
        return TRIGGERED if self.paused else self.schedule


async def poke_cron(tx: Tx, dispatcher: Dispatcher, wishes: Collection[CronWish], now: datetime) -> None:
    """Saves new cron rows and schedule spans where something changes. The jobs are locked by the caller.

    A slot that is due already but was not fired yet is fired first, under the old plan: no edit swallows it.
    """
    rows = {row.job_id: row for row in await lock_crons(tx, [wish.job_id for wish in wishes])}
    pokes = [poke for wish in wishes if (poke := decide_poke(rows.get(wish.job_id), wish, now)) is not None]
    await save_crons(tx, [poke.row for poke in pokes])
    await add_spans(tx, [_span(poke.wish, now) for poke in pokes])
    await apply_firings(tx, dispatcher, [poke.firing for poke in pokes if poke.firing is not None], now)


async def rewind(tx: Tx, not_before: Mapping[int, datetime], now: datetime) -> bool:
    """Plans the next run of those jobs whose interval counts from now, the end of what ran. Locks job_cron rows.

    `not_before`: by job, the earliest time for it. True if there were any: something may be due before anybody who
    sleeps until the next due time expects it.
    """
    if not not_before:
        return False
    rewound = _rewound(await lock_crons_waiting_for_rewind(tx, not_before.keys()), not_before, now)
    await save_cron_states(tx, rewound)
    return bool(rewound)


@dataclass(frozen=True, slots=True)
class CronPoke:
    """`row` is to be saved; `firing` is of the slot that was due under the old plan."""

    wish: CronWish
    row: JobCronRow
    firing: Firing | None


def decide_poke(row: JobCronRow | None, wish: CronWish, now: datetime) -> CronPoke | None:
    """None if nothing changes."""
    if row is None or not row.state.enabled:
        return _enabled(row, wish, now) if wish.enabled else None
    if wish.enabled and row.schedule == wish.effective_schedule:
        return None
    firing = _overdue(row, now)
    state = row.state if firing is None else firing.row.state
    if wish.enabled:
        step = on_schedule_change(state, cached_schedule(wish.effective_schedule), now)
    else:
        step = disable(state, now)
    return CronPoke(wish, _row(wish, step.state), firing)


@lru_cache(maxsize=4096)
def cached_schedule(text: str) -> Schedule:
    """Schedules of stored jobs, parsed once: they were valid when they were stored."""
    return parse_schedule(text)


def _enabled(row: JobCronRow | None, wish: CronWish, now: datetime) -> CronPoke:
    before = _NEVER_ENABLED if row is None else row.state
    step = enable(before, cached_schedule(wish.effective_schedule), now)
    return CronPoke(wish, _row(wish, step.state), None)


def _overdue(row: JobCronRow, now: datetime) -> Firing | None:
    try:
        return decide_firing(row, cached_schedule(row.schedule), now)
    except ScheduleError:
        return None  # stored by another release; its slot goes with the plan that nobody here understands


def _row(wish: CronWish, state: CronState) -> JobCronRow:
    return JobCronRow(wish.job_id, wish.project_id, wish.job_name, wish.effective_schedule, state)


def _rewound(rows: Sequence[JobCronRow], not_before: Mapping[int, datetime], now: datetime) -> list[JobCronRow]:
    pairs = [
        (
            row,
            rewind_if_necessary(row.state, cached_schedule(row.schedule), now, not_before=not_before[row.job_id]).state,
        )
        for row in rows
    ]
    return [replace(row, state=state) for row, state in pairs if state != row.state]


def _span(wish: CronWish, now: datetime) -> ScheduleSpan:
    return ScheduleSpan(wish.job_id, now, wish.effective_schedule, wish.revision, wish.paused, wish.enabled)
