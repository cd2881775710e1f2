"""Bugs that somebody could make with schedules. The walks through slots must catch every one of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from ostinato.jobflow import fire_slots, poke_cron
from ostinato.jobflow.fire_slots import Firing
from ostinato.scheduling import cron_machine
from ostinato.scheduling.cron_machine import CronState, CronStep
from ostinato.scheduling.occurrence import OccurrenceOutcome
from ostinato.scheduling.schedule import Timetable
from ostinato.scheduling.schedule.blackouts import BlackoutPeriods
from ostinato.scheduling.schedule.cron import CronSchedule
from ostinato.storage.transaction import Tx
from ostinato.taskqueue import Dispatcher
from ostinato_engine import cron_loop

Plant = Callable[[pytest.MonkeyPatch], None]


def an_edit_forgets_what_was_left(patch: pytest.MonkeyPatch) -> None:
    """The old plan just goes."""

    def forget(state: CronState, *_: Any, **__: Any) -> CronStep:
        return CronStep(state)

    patch.setattr(poke_cron, "settle", forget)
    patch.setattr(poke_cron, "settle_edit", forget)


def an_edit_fires_what_waits(patch: pytest.MonkeyPatch) -> None:
    """Slots that wait for their offset start at once."""
    settle_edit = cron_machine.settle_edit

    def settle_at_once(state: CronState, old: Timetable, new: Timetable, now: datetime) -> CronStep:
        step = settle_edit(state, old, new, now)
        return replace(step, fired=tuple(replace(fired, due_at=min(fired.due_at, now)) for fired in step.fired))

    patch.setattr(poke_cron, "settle_edit", settle_at_once)


def a_shorter_offset_looks_like_an_outage(patch: pytest.MonkeyPatch) -> None:
    """Whatever an edit changes about delays, the slot in the row only moves."""

    def keeps_slots(_: CronState, old: Timetable, new: Timetable, __: datetime) -> bool:
        return old.is_absolute and old.has_same_slots(new)

    patch.setattr(poke_cron, "keeps_slots", keeps_slots)


def a_pause_forgets_what_it_held(patch: pytest.MonkeyPatch) -> None:
    """A job that makes up for its pause goes on with the next slot."""

    def go_on(state: CronState, schedule: Timetable, now: datetime) -> CronStep:
        plan = schedule.plan_after(now)
        slot, due_at = (None, None) if plan is None else (plan.slot, plan.due_at)
        return CronStep(replace(state, generation=state.generation + 1, slot=slot, due_at=due_at))

    patch.setattr(poke_cron, "resume", go_on)


def what_was_missed_goes_unsaid(patch: pytest.MonkeyPatch) -> None:
    """The ledger hears of what fires only."""
    apply_firings = fire_slots.apply_firings

    async def keep_quiet(tx: Tx, dispatcher: Dispatcher, firings: Sequence[Firing], now: datetime) -> Any:
        return await apply_firings(tx, dispatcher, [replace(firing, skipped=()) for firing in firings], now)

    patch.setattr(cron_loop, "apply_firings", keep_quiet)


def one_slot_too_many_is_skipped(patch: pytest.MonkeyPatch) -> None:
    """A range of missed slots ends a slot too late."""
    second_after = cron_machine._second_after

    def a_minute_after(at: datetime) -> datetime:
        return second_after(at) + timedelta(minutes=1)

    patch.setattr(cron_machine, "_second_after", a_minute_after)


def blackouts_end_an_hour_early(patch: pytest.MonkeyPatch) -> None:
    """Their last hour is forgotten."""
    end_of = BlackoutPeriods.end_of

    def end_too_early(self: BlackoutPeriods, at: datetime) -> datetime | None:
        end = end_of(self, at)
        return None if end is None or at + timedelta(hours=1) >= end else end - timedelta(hours=1)

    patch.setattr(BlackoutPeriods, "end_of", end_too_early)


def nobody_hears_of_gaps(patch: pytest.MonkeyPatch) -> None:
    """A time that the clock leaves out has no outcome."""

    def none(*_: Any) -> Any:
        return iter(())

    patch.setattr(CronSchedule, "skipped_in_gaps", none)


def a_fold_comes_once(patch: pytest.MonkeyPatch) -> None:
    """When the clock is put back, an hour of a schedule with all hours is missing."""
    next_after = CronSchedule.next_after

    def next_but_the_second_time(self: CronSchedule, after: datetime, **options: Any) -> datetime | None:
        slot = next_after(self, after, **options)
        while slot is not None and self.is_elapsed and self.clock_at(slot).came_before:
            slot = next_after(self, slot, **options)
        return slot

    patch.setattr(CronSchedule, "next_after", next_but_the_second_time)


def due_by_the_engines_own_clock(patch: pytest.MonkeyPatch) -> None:
    """An engine whose clock is ahead takes what is due in five seconds."""
    lock = cron_loop.lock_due_crons

    async def lock_early(tx: Tx, limit: int) -> Any:
        ahead = "select set_config('testing.now', (ostinato_now() + interval '5 seconds')::text, true)"
        await tx.execute(ahead)
        return await lock(tx, limit)

    patch.setattr(cron_loop, "lock_due_crons", lock_early)


def a_pause_is_an_outage(patch: pytest.MonkeyPatch) -> None:
    """What waited when its job was paused is said to have been missed."""
    settle = cron_machine.settle

    def settle_as_missed(state: CronState, schedule: Timetable, now: datetime, **options: Any) -> CronStep:
        step = settle(state, schedule, now, **options)
        told = tuple(
            replace(skipped, outcome=OccurrenceOutcome.SKIPPED_CATCHUP)
            if skipped.outcome in (OccurrenceOutcome.PAUSED, OccurrenceOutcome.DISABLED)
            else skipped
            for skipped in step.skipped
        )
        return replace(step, skipped=told)

    patch.setattr(poke_cron, "settle", settle_as_missed)


def what_an_edit_leaves_comes_an_hour_late(patch: pytest.MonkeyPatch) -> None:
    """Slots that outlive their schedule wait for more than their delay."""
    settle_edit = cron_machine.settle_edit

    def settle_late(*given: Any) -> CronStep:
        step = settle_edit(*given)
        return replace(
            step, fired=tuple(replace(fired, due_at=fired.due_at + timedelta(hours=1)) for fired in step.fired)
        )

    patch.setattr(poke_cron, "settle_edit", settle_late)


# With a seed whose walk finds it, and of how many jobs.
SLOT_PLANTS: dict[Plant, tuple[int, int]] = {
    an_edit_forgets_what_was_left: (1, 12),
    an_edit_fires_what_waits: (2, 12),
    a_shorter_offset_looks_like_an_outage: (34, 12),
    a_pause_forgets_what_it_held: (2, 12),
    what_was_missed_goes_unsaid: (1, 12),
    one_slot_too_many_is_skipped: (5, 12),
    blackouts_end_an_hour_early: (1, 12),
    nobody_hears_of_gaps: (3, 12),
    a_fold_comes_once: (2, 12),
    due_by_the_engines_own_clock: (6, 12),
    a_pause_is_an_outage: (1, 12),
    what_an_edit_leaves_comes_an_hour_late: (3, 30),
}
