"""What became of one instant in a job's life, in words. Pure: from what ledger and schedule of that time say."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from ostinato.scheduling.finding import Cause, Finding
from ostinato.scheduling.finding import told_instant as _at
from ostinato.scheduling.occurrence import OccurrenceOutcome


@dataclass(frozen=True, slots=True)
class SlotSituation:
    """What is known of the instant `at` in a job's life.

    `in_force`: whether a schedule was there at all, and `schedule` the one that was in force, `since` when. `is_slot`:
    `at` is one of it; `next_slot` the first that is not before it. `outcome` is what the ledger has, with the run, if
    any, and when it was decided. `waits`: a trigger of the slot is pending, or its time has not come.
    """

    now: datetime
    at: datetime
    in_force: bool
    schedule: str = ""
    since: datetime | None = None
    paused: bool = False
    enabled: bool = True
    is_slot: bool = False
    in_blackout: bool = False
    next_slot: datetime | None = None
    outcome: OccurrenceOutcome | None = None
    reason: str = ""
    run: str = ""
    decided_at: datetime | None = None
    waits: bool = False


def explain_slot(slot: SlotSituation) -> Finding:
    """Why it did not run at that time, or that it did."""
    if slot.outcome is not None:
        words = _SKIPPED_PAUSED if _is_skipped_of_a_pause(slot) else _OUTCOMES[slot.outcome]
        text = words.format(at=_at(slot.at), run=slot.run, decided=_at(slot.decided_at))
        return Finding(Cause(slot.outcome.name), f"{text}{f' ({slot.reason})' if slot.reason else ''}", slot.decided_at)
    if not slot.in_force:
        return Finding(Cause.NOT_THERE_YET, f"At {_at(slot.at)} the job did not exist yet.")
    if not slot.enabled:
        return Finding(Cause.DISABLED, f"At {_at(slot.at)} it was disabled, since {_at(slot.since)}.", slot.since)
    if slot.paused and not (slot.is_slot and slot.waits and slot.at <= slot.now):
        return Finding(Cause.PAUSED, f"At {_at(slot.at)} it was paused, since {_at(slot.since)}.", slot.since)
    if not slot.is_slot:
        following = f"the next one is {_at(slot.next_slot)}" if slot.next_slot else "it has no later one"
        text = f"{_at(slot.at)} is no slot of the schedule that was in force, `{slot.schedule}`; {following}."
        return Finding(Cause.NO_SLOT, text, slot.since)
    if slot.in_blackout:
        text = f"The slot of {_at(slot.at)} lies in a blackout: it starts nothing."
        return Finding(Cause.SKIPPED_BLACKOUT, text)
    if slot.at > slot.now:
        return Finding(Cause.AHEAD, f"{_at(slot.at)} is a slot of its schedule `{slot.schedule}`, and lies ahead.")
    if slot.waits:
        return Finding(Cause.STILL_WAITING, f"The slot of {_at(slot.at)} has not started anything yet: it still waits.")
    return Finding(Cause.NOT_RECORDED, f"Nothing is recorded of the slot of {_at(slot.at)}, which must not be.")


def _is_skipped_of_a_pause(slot: SlotSituation) -> bool:
    return slot.paused and slot.outcome is OccurrenceOutcome.SKIPPED_CATCHUP


_SKIPPED_PAUSED = "The slot of {at} came while the job was paused, and its catch_up skipped it at {decided}."
_OUTCOMES = {
    OccurrenceOutcome.STARTED: "The slot of {at} did start a run: {run}.",
    OccurrenceOutcome.BATCHED: "The slot of {at} was taken together with newer ones by the run {run}.",
    OccurrenceOutcome.EXPIRED: "The slot of {at} waited longer than pending_timeout, and was discarded at {decided}.",
    OccurrenceOutcome.OVERFLOW: "The slot of {at} was dropped at {decided}: too many triggers were waiting.",
    OccurrenceOutcome.PAUSED: "The slot of {at} was dropped at {decided}, because the job was paused by then.",
    OccurrenceOutcome.DISABLED: "The slot of {at} was dropped at {decided}, because the job was disabled by then.",
    OccurrenceOutcome.SKIPPED_CATCHUP: (
        "The slot of {at} was missed: no engine fired it in time, or too many waited, and it was skipped at {decided}."
    ),
    OccurrenceOutcome.SKIPPED_DST_GAP: "The clocks went forward over the slot, which would have been {at}.",
    OccurrenceOutcome.SKIPPED_BLACKOUT: "The slot of {at} lay in a blackout of the job's calendar.",
    OccurrenceOutcome.START_DEADLINE: "The slot of {at} could not start in time: start_deadline, {decided}.",
}
