"""Brings the cron rows of locked jobs in line with what the jobs are now: enabled, paused, and on which schedule.

Which event of the cron machine that is follows from the row and the job alone, so callers say what a job is,
not what happened to it. Pausing is a change of schedule to `triggered`, or holds the slot of a job that makes up for
what it misses. Lock order: job, then job_cron.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from ostinato.jobflow.fire_slots import Firing, apply_firings, firing_of
from ostinato.jobflow.timetables import cached_timetable, find_timetable, makes_up
from ostinato.jobstore.job_cron_store import (
    JobCronRow,
    lock_crons_waiting_for_rewind,
    save_cron_states,
    save_crons,
)
from ostinato.jobstore.job_store import JobId
from ostinato.jobstore.schedule_span_store import ScheduleSpan, add_spans
from ostinato.scheduling.cron_machine import (
    CronState,
    CronStep,
    disable,
    enable,
    hold,
    keeps_slots,
    on_delay_change,
    on_schedule_change,
    resume,
    rewind_if_necessary,
    settle,
    settle_edit,
)
from ostinato.scheduling.occurrence import OccurrenceOutcome
from ostinato.scheduling.schedule import Timetable
from ostinato.storage.transaction import Tx
from ostinato.taskqueue import Dispatcher

TRIGGERED = "triggered"
_MOST_TRIGGERS = 5_000  # at once
_MOST_SKEW = timedelta(minutes=10)  # between the clocks of databases that take over from each other
_NEVER_ENABLED = CronState()


@dataclass(frozen=True, slots=True)
class CronWish:
    """What a locked job is now. `schedule` and `terms` (encoded) are those of its definition."""

    job_id: JobId
    project_id: int
    job_name: str
    schedule: str
    enabled: bool
    paused: bool
    revision: str
    terms: bytes = b""

    @property
    def effective_schedule(self) -> str:
        return TRIGGERED if self.paused and not self.is_held else self.schedule

    @property
    def effective_terms(self) -> bytes:
        return b"" if self.paused and not self.is_held else self.terms

    @property
    def is_held(self) -> bool:
        """Paused, and it makes up for the slots of this time when it is resumed."""
        return self.paused and makes_up(self.schedule, self.terms, self.job_name)

    @property
    def timetable(self) -> Timetable:
        """The effective one."""
        return cached_timetable(self.effective_schedule, self.effective_terms, self.job_name)


async def poke_cron(
    tx: Tx, dispatcher: Dispatcher, wishes: Iterable[CronWish], *, locked: Collection[JobCronRow]
) -> None:
    """Saves new cron rows and schedule spans where something changes. The jobs are locked by the caller.

    `locked`: what `lock_crons` gave for those of the jobs that are not new, before anybody asked `tx` for the time.
    An edit that waits for a tick happens after it; with a time from before the wait, the slot just fired would be one
    of the new schedule, which may have no such slot.
    Slots whose time has come but that were not fired yet are settled first, under the old plan: no edit swallows them.
    """
    rows = {row.job_id: row for row in locked}
    now = await tx.now()  # after the locks
    pokes: list[CronPoke] = []
    triggers = 0
    for wish in wishes:
        row = rows.get(wish.job_id)
        poke = decide_poke(row, wish, _no_earlier_than(row, now))
        if poke is None:
            continue
        pokes.append(poke)
        triggers += 0 if poke.firing is None else len(poke.firing.emissions)
        # An edit may let a thousand slots of each job go: neither this process nor the database is kept busy for long.
        if triggers >= _MOST_TRIGGERS:
            await _apply_pokes(tx, dispatcher, pokes, now)
            pokes, triggers = [], 0
    await _apply_pokes(tx, dispatcher, pokes, now)


async def _apply_pokes(tx: Tx, dispatcher: Dispatcher, pokes: Sequence[CronPoke], now: datetime) -> None:
    await save_crons(tx, [poke.row for poke in pokes])
    await add_spans(tx, [_span(poke) for poke in pokes])
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
    """`row` is to be saved; `firing` is of what the old plan had left, or of an `at` that is past when it begins.

    `at`: when the schedule is another one.
    """

    wish: CronWish
    at: datetime
    row: JobCronRow
    firing: Firing | None


def decide_poke(row: JobCronRow | None, wish: CronWish, now: datetime) -> CronPoke | None:
    """None if nothing changes."""
    if row is None or not row.state.enabled:
        return _enabled(row, wish, now) if wish.enabled else None
    if wish.enabled and _is_as_wished(row, wish):
        return None
    # If it can't be read, its slot goes with the plan that nobody here understands.
    old = find_timetable(row.schedule, row.terms, row.job_name)
    if wish.enabled and old is not None and keeps_slots(row.state, old, wish.timetable, now):
        return _same_slots(row, wish, now)
    firing = None if old is None else firing_of(row, _settle(row.state, old, wish, now), old, now)
    state = row.state if firing is None else firing.row.state
    if not wish.enabled:
        return CronPoke(wish, now, _row(wish, disable(state, now).state), firing)
    changed = on_schedule_change(state, wish.timetable, now, was_triggered=row.schedule == TRIGGERED).state
    return CronPoke(wish, now, _row(wish, hold(changed) if wish.is_held else changed), firing)


def _is_as_wished(row: JobCronRow, wish: CronWish) -> bool:
    is_held = row.state.is_held if row.state.slot is not None else wish.is_held  # without a slot both are the same
    return (row.schedule, row.terms, is_held) == (wish.effective_schedule, wish.effective_terms, wish.is_held)


def _settle(state: CronState, old: Timetable, wish: CronWish, now: datetime) -> CronStep:
    """Where the job is disabled or paused from now on, slots that wait go as a triage lets pending triggers go."""
    if not wish.enabled:
        return settle(state, old, now, waiting=OccurrenceOutcome.DISABLED)
    if wish.paused and not wish.is_held:
        return settle(state, old, now, waiting=OccurrenceOutcome.PAUSED)
    return settle_edit(state, old, wish.timetable, now)


def _same_slots(row: JobCronRow, wish: CronWish, now: datetime) -> CronPoke:
    """Only when they are due differs, or what becomes of those that are missed, or whether they are held."""
    state = on_delay_change(row.state, wish.timetable).state
    if wish.is_held:
        return CronPoke(wish, now, _row(wish, hold(state)), None)
    if not row.state.is_held:
        return CronPoke(wish, now, _row(wish, state), None)
    step = resume(row.state, wish.timetable, now)
    return CronPoke(wish, now, _row(wish, step.state), firing_of(row, step, wish.timetable, now))


def _enabled(row: JobCronRow | None, wish: CronWish, now: datetime) -> CronPoke:
    before = _NEVER_ENABLED if row is None else row.state
    step = enable(before, wish.timetable, now)
    enabled = _row(wish, hold(step.state) if wish.is_held else step.state)
    return CronPoke(wish, now, enabled, firing_of(enabled, step, wish.timetable, now))


def _row(wish: CronWish, state: CronState) -> JobCronRow:
    return JobCronRow(wish.job_id, wish.project_id, wish.job_name, wish.effective_schedule, state, wish.effective_terms)


def _rewound(rows: Sequence[JobCronRow], not_before: Mapping[int, datetime], now: datetime) -> list[JobCronRow]:
    pairs = [(row, _rewind_one(row, not_before[row.job_id], now)) for row in rows]
    return [replace(row, state=state) for row, state in pairs if state != row.state]


def _rewind_one(row: JobCronRow, not_before: datetime, now: datetime) -> CronState:
    schedule = cached_timetable(row.schedule, row.terms, row.job_name)
    return rewind_if_necessary(row.state, schedule, now, not_before=not_before).state


def _no_earlier_than(row: JobCronRow | None, now: datetime) -> datetime:
    """The clock of a database that took over may be behind: no edit happens before what fired already.

    One that was far ahead once, and was put right, rules no longer.
    """
    last = None if row is None else row.state.last_rewind_at
    return max(now, last) if last is not None and last - now < _MOST_SKEW else now


def _span(poke: CronPoke) -> ScheduleSpan:
    wish = poke.wish
    return ScheduleSpan(
        job_id=wish.job_id,
        from_at=poke.at,
        schedule=wish.effective_schedule,
        revision=wish.revision,
        paused=wish.paused,
        enabled=wish.enabled,
        terms=wish.effective_terms,
    )
