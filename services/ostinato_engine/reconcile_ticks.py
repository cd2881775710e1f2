"""Schedules that have stopped: which, and how they are planned again. What a schedule can't tell is left alone."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from ostinato.jobflow.timetables import cached_timetable
from ostinato.jobstore.job_cron_store import JobCronRow, find_unplanned, lock_unplanned, save_cron_states
from ostinato.jobstore.reconcile_store import JobRef, find_idle
from ostinato.scheduling.cron_machine import CronState, on_schedule_change
from ostinato.scheduling.schedule import ScheduleError
from ostinato.storage.transaction import Tx


@dataclass(frozen=True, slots=True)
class StandingTicks:
    """`stopped`: job ids of schedules that go on and plan nothing.

    `waiting_for_an_end`: intervals that count from an end, of jobs that have nothing left to end; they stand still if
    no triage is on its way. `last`: the last job looked at, None when there are no more.
    """

    stopped: Sequence[int]
    waiting_for_an_end: Sequence[JobRef]
    last: int | None


async def find_standing_ticks(tx: Tx, *, after: int, limit: int) -> StandingTicks:
    """Behind the job id `after`; `tx` reads one snapshot."""
    rows = await find_unplanned(tx, after=after, limit=limit)
    now = await tx.now()
    waiting = [row for row in rows if _waits_for_an_end(row)]
    idle = await find_idle(tx, [row.job_id for row in waiting]) if waiting else set()
    return StandingTicks(
        stopped=[row.job_id for row in rows if _planned(row, now).slot is not None],
        waiting_for_an_end=[(row.job_id, row.project_id) for row in waiting if row.job_id in idle],
        last=rows[-1].job_id if len(rows) == limit else None,
    )


async def plan_again(tx: Tx, job_ids: Collection[int]) -> list[int]:
    """Returns those that still planned nothing, now under the locks of their rows."""
    rows = await lock_unplanned(tx, job_ids)
    now = await tx.now()
    planned = [replace(row, state=_planned(row, now)) for row in rows]
    await save_cron_states(tx, planned)
    return [row.job_id for row in planned]


def _planned(row: JobCronRow, now: datetime) -> CronState:
    """A slot that is there stays: it is due at once if its time has passed."""
    slot = row.state.slot
    try:
        schedule = cached_timetable(row.schedule, row.terms, row.job_name)
        if slot is not None:
            return replace(row.state, due_at=schedule.due_time(slot))
        return on_schedule_change(row.state, schedule, now).state
    except ScheduleError:
        return replace(row.state, due_at=slot)  # another release's


def _waits_for_an_end(row: JobCronRow) -> bool:
    try:
        return row.state.waits_for_rewind and not cached_timetable(row.schedule, row.terms, row.job_name).is_absolute
    except ScheduleError:
        return False
