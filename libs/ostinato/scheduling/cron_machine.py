"""When a job's schedule fires: a pure machine whose host keeps the state in a row with a due time.

Semantics are LUCI's cron machine. Its nonces, early ticks and hops have nothing to do here, because a due time in a
row cannot arrive twice or early, and an edit replaces it in place.

- The generation never decreases, and each fired slot has one of its own: it names the trigger.
- An absolute schedule plans its next slot the moment one fires. A relative one waits, without a slot, until the
  host says that nothing runs any more (`rewind_if_necessary`). While it waits `last_rewind_at` is None; an enabled
  machine is in that state at no other time.
- A slot is due later than its time by the job's offset and jitter. Slots fire in their order, so one may wait for the
  one before it; none that may still be waiting for its delay is taken for missed.
- An edit keeps `last_rewind_at`: a relative schedule stays measured from the last rewind, not from the edit.
- Of what was missed the job's catch-up policy says what fires; the rest is skipped as one range. How many slots that
  are costs nothing: SKIP takes two look-ups of the schedule, the others some for each slot that fires.
- While a job is paused its machine follows `triggered`. If it makes up for what it misses, it is held instead: it keeps
  its schedule and its slot, which is not due before the job is resumed.
- No slot vanishes without a word: the host asks `settle` first, under the old schedule, before it reports an edit,
  a pause or a disable. What starts nothing (a blackout, a gap of the clock) has its outcome as well.
- An edit under which the slots that wait for their delay stay slots leaves them in the row (`keeps_slots`). Any other
  leaves them their time: they fire at once, each for an invocation of its own that is not due before.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from ostinato.scheduling.occurrence import OccurrenceOutcome
from ostinato.scheduling.schedule import AtSchedule, CatchUpPolicy, Timetable
from ostinato.scheduling.schedule.due_time import Delay

MOST_LEFT_WAITING = 1_000  # by one edit of a job
_INSTANT = timedelta(microseconds=1)
_DISTANT_PAST = datetime(1, 1, 2, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class CronState:
    """`slot` is None if nothing is planned: disabled, `triggered`, never again, or waiting for a rewind.

    `due_at` is None with it, and while it is held: when the host asks `on_due`.
    """

    enabled: bool = False
    generation: int = 0
    last_rewind_at: datetime | None = None
    slot: datetime | None = None
    due_at: datetime | None = None

    @property
    def waits_for_rewind(self) -> bool:
        """A relative schedule has fired and nothing has rewound it yet."""
        return self.enabled and self.last_rewind_at is None

    @property
    def is_held(self) -> bool:
        return self.slot is not None and self.due_at is None


@dataclass(frozen=True, slots=True)
class FiredSlot:
    """Emit one trigger. Only slots of absolute schedules have a row in the ledger.

    `own_run`: it makes up for a slot that was missed, or outlives its schedule (then `due_at` may lie ahead), and
    becomes an invocation of its own whatever the policy.
    """

    generation: int
    slot: datetime
    due_at: datetime
    own_run: bool = False


@dataclass(frozen=True, slots=True)
class SkippedRange:
    """Slots in [from_slot, until_slot), or `from_slot` alone, will not fire. Only absolute schedules have a ledger.

    It ends no later than directly after the time of the decision: the next slot may be another one by then, of another
    schedule.
    """

    from_slot: datetime
    until_slot: datetime | None
    outcome: OccurrenceOutcome = OccurrenceOutcome.SKIPPED_CATCHUP


@dataclass(frozen=True, slots=True)
class CronStep:
    """`fired` is in the order of the slots."""

    state: CronState
    fired: tuple[FiredSlot, ...] = ()
    skipped: tuple[SkippedRange, ...] = ()


def enable(state: CronState, schedule: Timetable, now: datetime) -> CronStep:
    if state.enabled:
        return CronStep(state)
    fresh = CronState(enabled=True, generation=state.generation + 1, last_rewind_at=now)
    if state.generation == 0 and isinstance(schedule.schedule, AtSchedule):
        return _created_late(fresh, schedule, now)
    return CronStep(_plan(fresh, schedule, now))


def _created_late(fresh: CronState, schedule: Timetable, now: datetime) -> CronStep:
    """Whoever creates a job that runs once, a little late, wants that run."""
    planned = _plan(fresh, schedule, _window_start(schedule, now) - _INSTANT)
    missed = schedule.next_after(_DISTANT_PAST) if planned.slot is None else None
    return CronStep(planned, (), () if missed is None else (SkippedRange(missed, None),))


def disable(state: CronState, now: datetime) -> CronStep:  # noqa: ARG001  (all events take the time)
    if not state.enabled:
        return CronStep(state)
    return CronStep(CronState(enabled=False, generation=state.generation + 1))


def on_schedule_change(
    state: CronState, schedule: Timetable, now: datetime, *, was_triggered: bool = False
) -> CronStep:
    """Pausing and resuming are changes to and from `triggered`. Idempotent: the same plan keeps the generation.

    `was_triggered`: no schedule before this one had a slot at this very instant, so one of the new is due.
    """
    if not state.enabled:
        return CronStep(state)
    if state.waits_for_rewind:
        return CronStep(_rewind(state, schedule, now) if schedule.is_absolute else state)
    if was_triggered and schedule.is_absolute and state.last_rewind_at != now:
        return CronStep(_plan(state, schedule, now - _INSTANT))
    return CronStep(_plan(state, schedule, now))


def keeps_slots(state: CronState, old: Timetable, new: Timetable, now: datetime) -> bool:
    """Whether an edit only moves when things are due: `on_delay_change` is all it takes, and nothing is settled.

    Either no slot differs, or those that had their time and wait are the same under both. By a shorter delay none of
    them may look as if it had been missed, and by a longer one none that is due already may have to wait again.
    """
    if not old.is_absolute:
        return False
    if state.slot is None or state.slot > now:
        return old.has_same_slots(new)
    if state.due_at is None:
        return old.agrees_on(new, state.slot, now)
    looks_missed = new.delay.longest < old.delay.longest and state.slot <= now - new.delay.longest
    waits_again = state.due_at <= now < new.due_time(state.slot)
    return not looks_missed and not waits_again and old.agrees_on(new, state.slot, now)


def on_delay_change(state: CronState, schedule: Timetable) -> CronStep:
    """What waits stays as it is and only becomes due earlier or later; what is held stays held."""
    if state.slot is None or state.is_held or not schedule.is_absolute:
        return CronStep(state)
    return CronStep(replace(state, generation=state.generation + 1, due_at=schedule.due_time(state.slot)))


def hold(state: CronState) -> CronState:
    """Nothing is due any more until `resume`, which makes up for it."""
    return replace(state, generation=state.generation + 1, due_at=None) if state.due_at is not None else state


def resume(state: CronState, schedule: Timetable, now: datetime) -> CronStep:
    """The slots since `hold` are as those that were missed: what the catch-up policy wants fires."""
    if not state.is_held or state.slot is None:
        return CronStep(state)
    due_at = schedule.due_time(state.slot)
    return on_due(replace(state, generation=state.generation + 1, due_at=due_at), schedule, now)


def on_due(state: CronState, schedule: Timetable, now: datetime) -> CronStep:
    """Fires what is due, however late, as the catch-up policy says; nothing otherwise, so hosts may ask again."""
    if not state.enabled or state.slot is None or state.due_at is None or state.due_at > now:
        return CronStep(state)
    return _pass(state, schedule, state.slot, now, missed_until=now - schedule.delay.longest)


def settle(
    state: CronState, schedule: Timetable, now: datetime, *, waiting: OccurrenceOutcome | None = None
) -> CronStep:
    """The schedule is no longer in force from now on: what it has up to now fires or is recorded, due or not.

    `waiting`: the outcome of slots that wait for their delay. Without one the newest MOST_LEFT_WAITING of them fire
    when they are due, and others are skipped.
    """
    return _settle(state, schedule, now, waiting, schedule.delay)


def settle_edit(state: CronState, old: Timetable, new: Timetable, now: datetime) -> CronStep:
    """The same where `new` takes the place of `old`. Slots that stay slots, and wait, wait for their new delay.

    If the machine is held and its job makes up for the newest slot of its pause only, those that wait are dropped.
    """
    if state.is_held and old.terms.catch_up.policy is CatchUpPolicy.LATEST:
        return _settle(state, old, now, OccurrenceOutcome.PAUSED, old.delay)
    stays = state.slot is not None and old.agrees_on(new, state.slot, now)
    return _settle(state, old, now, None, new.delay if stays else old.delay)


def _settle(
    state: CronState, schedule: Timetable, now: datetime, waiting: OccurrenceOutcome | None, delay: Delay
) -> CronStep:
    """`delay` is what slots that are not due yet wait for."""
    if not state.enabled or state.slot is None or state.slot > now:
        return CronStep(state)
    if not schedule.is_absolute:
        return _pass(state, schedule, state.slot, now, missed_until=now)
    missed_until = now - schedule.delay.longest
    start = schedule.start_from(state.slot)
    if start is None or start > missed_until:
        return _end_waiting(state, schedule, now, waiting, delay)
    step = _pass(state, schedule, state.slot, now, missed_until=missed_until)
    if step.state.slot is None or step.state.slot > now:
        return step
    rest = _end_waiting(step.state, schedule, now, waiting, delay)
    return CronStep(rest.state, (*step.fired, *rest.fired), (*step.skipped, *rest.skipped))


def _end_waiting(
    state: CronState, schedule: Timetable, now: datetime, outcome: OccurrenceOutcome | None, delay: Delay
) -> CronStep:
    """All slots from the planned one to `now` lie within the schedule's longest delay, so none of them was missed."""
    first = state.slot
    assert first is not None
    start = schedule.start_from(first)
    if start is None or start > now:
        return _start_nothing(state, schedule, first, now)
    chosen = schedule.newest_starts(start, now, MOST_LEFT_WAITING) if outcome is None else []
    skipped = _not_chosen(schedule, start, chosen, now, outcome or OccurrenceOutcome.SKIPPED_CATCHUP)
    due_times = [_due_time(schedule.delay, delay, slot, now) for slot in chosen]
    fired = _fire(state, chosen, due_times, own_run=True)
    before = _passed_over(schedule, first, start)
    return CronStep(_after_firing(state, schedule, fired, now, passed=now), fired, (*before, *skipped))


def _due_time(before: Delay, after: Delay, slot: datetime, now: datetime) -> datetime:
    """What is due already stays so."""
    due_at = before.due_time(slot)
    return due_at if due_at <= now else after.due_time(slot)


def rewind_if_necessary(
    state: CronState, schedule: Timetable, now: datetime, *, not_before: datetime | None = None
) -> CronStep:
    """Nothing runs any more: a relative schedule that has fired counts from now on.

    Its next slot comes no earlier than `not_before`, by which a host spaces starts after a failure.
    """
    if not state.waits_for_rewind:
        return CronStep(state)
    rewound = _rewind(state, schedule, now)
    if not_before is None or rewound.slot is None or rewound.slot >= not_before:
        return CronStep(rewound)
    return CronStep(replace(rewound, slot=not_before, due_at=not_before))


def _pass(state: CronState, schedule: Timetable, first: datetime, now: datetime, *, missed_until: datetime) -> CronStep:
    """`first`, or the first slot behind it that starts something, has come unless it is yet to come.

    It fires, or what the catch-up policy prefers of the slots from there to `missed_until`.
    """
    if not schedule.is_absolute:
        fired = FiredSlot(state.generation + 1, first, first)
        return CronStep(CronState(enabled=True, generation=fired.generation), (fired,))
    start = schedule.start_from(first)
    if start is None or start > now:
        return _start_nothing(state, schedule, first, now)
    passed = max(start, missed_until)
    chosen = _chosen(schedule, start, passed, now)
    # One slot on time, or late before any other came due, is the usual trigger; more than that is making up.
    own_run = schedule.terms.catch_up.policy is CatchUpPolicy.ALL and chosen != [start]
    all_fired = _fire(state, chosen, [schedule.delay.due_time(slot) for slot in chosen], own_run=own_run)
    before = _passed_over(schedule, first, start)
    if schedule.terms.catch_up.policy is CatchUpPolicy.SKIP:
        skipped = _missed(schedule, start, passed)
    else:
        skipped = _not_chosen(schedule, start, chosen, passed)
    return CronStep(_after_firing(state, schedule, all_fired, now, passed=passed), all_fired, (*before, *skipped))


def _start_nothing(state: CronState, schedule: Timetable, first: datetime, now: datetime) -> CronStep:
    waiting = CronState(enabled=True, generation=state.generation)
    return CronStep(_rewind(waiting, schedule, now), (), _passed_over(schedule, first, now))


def _fire(
    state: CronState, slots: list[datetime], due_times: list[datetime], *, own_run: bool
) -> tuple[FiredSlot, ...]:
    return tuple(
        FiredSlot(state.generation + number, slot, due_at, own_run)
        for number, (slot, due_at) in enumerate(zip(slots, due_times, strict=True), start=1)
    )


def _after_firing(
    state: CronState, schedule: Timetable, fired: tuple[FiredSlot, ...], now: datetime, *, passed: datetime
) -> CronState:
    waiting = CronState(enabled=True, generation=state.generation + len(fired))
    return _rewind(waiting, schedule, now, after=passed)


def _chosen(schedule: Timetable, start: datetime, passed: datetime, now: datetime) -> list[datetime]:
    """Which of the slots in [start, passed] fire, oldest first."""
    catch_up = schedule.terms.catch_up
    if catch_up.policy is CatchUpPolicy.SKIP:
        return [start]
    limit = catch_up.limit if catch_up.policy is CatchUpPolicy.ALL else 1
    return schedule.newest_starts(max(start, _window_start(schedule, now)), passed, limit)


def _window_start(schedule: Timetable, now: datetime) -> datetime:
    """The oldest slot that is made up for. A slot that is late by its offset and jitter only is not missed."""
    return now - schedule.delay.longest - schedule.terms.catch_up.window


def _rewind(state: CronState, schedule: Timetable, now: datetime, *, after: datetime | None = None) -> CronState:
    rewound = replace(state, generation=state.generation + 1, last_rewind_at=now)
    return _plan(rewound, schedule, now if after is None else after)


def _plan(state: CronState, schedule: Timetable, after: datetime) -> CronState:
    plan = schedule.plan_after(after, last_rewind_at=state.last_rewind_at)
    slot, due_at = (None, None) if plan is None else (plan.slot, plan.due_at)
    if (slot, due_at) == (state.slot, state.due_at):
        return state
    return replace(state, generation=state.generation + 1, slot=slot, due_at=due_at)


def _passed_over(schedule: Timetable, first: datetime, until: datetime) -> tuple[SkippedRange, ...]:
    return tuple(
        SkippedRange(passed.slot, passed.until_slot, passed.outcome) for passed in schedule.passed_over(first, until)
    )


def _not_chosen(
    schedule: Timetable,
    start: datetime,
    chosen: list[datetime],
    passed: datetime,
    outcome: OccurrenceOutcome = OccurrenceOutcome.SKIPPED_CATCHUP,
) -> tuple[SkippedRange, ...]:
    """What becomes of the other slots in [start, passed]: those before the first that fires have `outcome`, as a range.

    Nothing between two that fire, or behind the last, starts anything.
    """
    if not chosen:
        return (*_left_out(schedule, start, passed), SkippedRange(start, _second_after(passed), outcome))
    others = _passed_over(schedule, chosen[0] + _INSTANT, passed)
    if chosen[0] == start:
        return others
    return (*_left_out(schedule, start, chosen[0]), SkippedRange(start, chosen[0], outcome), *others)


def _missed(schedule: Timetable, fired: datetime, passed: datetime) -> tuple[SkippedRange, ...]:
    missed = schedule.next_after(fired)
    if missed is not None and missed > passed:
        missed = None
    gaps = _left_out(schedule, fired, passed if missed is None else missed)
    if missed is None:
        return gaps
    return (*gaps, SkippedRange(missed, _second_after(passed)))


def _left_out(schedule: Timetable, after: datetime, until: datetime) -> tuple[SkippedRange, ...]:
    left_out = schedule.left_out(after, until)
    return tuple(SkippedRange(at, None, OccurrenceOutcome.SKIPPED_DST_GAP) for at in left_out)


def _second_after(at: datetime) -> datetime:
    """Slots are whole seconds: the first that can be planned after `at`."""
    return at.replace(microsecond=0) + timedelta(seconds=1)
