"""When a job's schedule fires: a pure machine whose host keeps the state in a row with a due time.

Semantics are LUCI's cron machine. Its nonces, early ticks and hops have nothing to do here, because a due time in a
row cannot arrive twice or early, and an edit replaces it in place.

- The generation never decreases, and each fired slot has one of its own: it names the trigger.
- An absolute schedule plans its next slot the moment one fires. A relative one waits, without a slot, until the
  host says that nothing runs any more (`rewind_if_necessary`). While it waits `last_rewind_at` is None; an enabled
  machine is in that state at no other time.
- An edit keeps `last_rewind_at`: a relative schedule stays measured from the last rewind, not from the edit.
- What was missed is skipped as one range, found by two look-ups of the schedule however long it is.
- No slot vanishes without a word: the host asks `on_due` first, under the old schedule, before it reports an edit,
  a pause or a disable.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from ostinato.scheduling.schedule import Schedule


@dataclass(frozen=True, slots=True)
class CronState:
    """`slot` is None if nothing is planned: disabled, `triggered`, never again, or waiting for a rewind."""

    enabled: bool = False
    generation: int = 0
    last_rewind_at: datetime | None = None
    slot: datetime | None = None

    @property
    def waits_for_rewind(self) -> bool:
        """A relative schedule has fired and nothing has rewound it yet."""
        return self.enabled and self.last_rewind_at is None


@dataclass(frozen=True, slots=True)
class FiredSlot:
    """Emit one trigger. Only slots of absolute schedules have a row in the ledger."""

    generation: int
    slot: datetime


@dataclass(frozen=True, slots=True)
class SkippedRange:
    """Slots in [from_slot, until_slot) will not fire. `from_slot` is one; only absolute schedules have a ledger.

    It ends directly after the time of the decision: the next slot may be another one by then, of another schedule.
    """

    from_slot: datetime
    until_slot: datetime


@dataclass(frozen=True, slots=True)
class CronStep:
    state: CronState
    fired: FiredSlot | None = None
    skipped: SkippedRange | None = None


def enable(state: CronState, schedule: Schedule, now: datetime) -> CronStep:
    if state.enabled:
        return CronStep(state)
    fresh = CronState(enabled=True, generation=state.generation + 1, last_rewind_at=now)
    return CronStep(_plan(fresh, schedule, now))


def disable(state: CronState, now: datetime) -> CronStep:  # noqa: ARG001  (all events take the time)
    if not state.enabled:
        return CronStep(state)
    return CronStep(CronState(enabled=False, generation=state.generation + 1))


def on_schedule_change(state: CronState, schedule: Schedule, now: datetime) -> CronStep:
    """Pausing and resuming are changes to and from `triggered`. Idempotent: the same plan keeps the generation."""
    if not state.enabled:
        return CronStep(state)
    if state.waits_for_rewind:
        return CronStep(_rewind(state, schedule, now) if schedule.is_absolute else state)
    return CronStep(_plan(state, schedule, now))


def on_due(state: CronState, schedule: Schedule, now: datetime) -> CronStep:
    """Fires the slot if its time has come, however late; nothing otherwise, so hosts may ask again."""
    if not state.enabled or state.slot is None or state.slot > now:
        return CronStep(state)
    fired = FiredSlot(state.generation + 1, state.slot)
    waiting = CronState(enabled=True, generation=fired.generation)
    if not schedule.is_absolute:
        return CronStep(waiting, fired)
    planned = _rewind(waiting, schedule, now)
    return CronStep(planned, fired, _skipped(schedule, fired.slot, now))


def rewind_if_necessary(
    state: CronState, schedule: Schedule, now: datetime, *, not_before: datetime | None = None
) -> CronStep:
    """Nothing runs any more: a relative schedule that has fired counts from now on.

    Its next slot comes no earlier than `not_before`, by which a host spaces starts after a failure.
    """
    if not state.waits_for_rewind:
        return CronStep(state)
    rewound = _rewind(state, schedule, now)
    if not_before is None or rewound.slot is None or rewound.slot >= not_before:
        return CronStep(rewound)
    return CronStep(replace(rewound, slot=not_before))


def _rewind(state: CronState, schedule: Schedule, now: datetime) -> CronState:
    return _plan(replace(state, generation=state.generation + 1, last_rewind_at=now), schedule, now)


def _plan(state: CronState, schedule: Schedule, now: datetime) -> CronState:
    slot = schedule.next_after(now, last_rewind_at=state.last_rewind_at)
    if slot == state.slot:
        return state
    return replace(state, generation=state.generation + 1, slot=slot)


def _skipped(schedule: Schedule, fired: datetime, now: datetime) -> SkippedRange | None:
    missed = schedule.next_after(fired)
    if missed is None or missed > now:
        return None
    # Slots are whole seconds: the first that can be planned after now.
    return SkippedRange(missed, now.replace(microsecond=0) + timedelta(seconds=1))
