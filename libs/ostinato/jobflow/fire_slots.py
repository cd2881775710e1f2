"""What firing a due cron row means: its trigger, and in the ledger the slots that were missed or start nothing.

The caller holds the row's lock and saves the row moved on, in the same transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from ostinato.jobflow.emit_triggers import Emission, Emitted, emit_triggers
from ostinato.jobstore.job_cron_store import JobCronRow
from ostinato.jobstore.occurrence_store import Occurrence, insert_occurrences
from ostinato.pb.scheduler.v1.triggers_pb2 import CronPayload, Trigger
from ostinato.scheduling.cron_machine import CronStep, FiredSlot, SkippedRange, on_due
from ostinato.scheduling.schedule import UTC_ZONE, Timetable
from ostinato.scheduling.trigger import cron_trigger_id
from ostinato.storage.transaction import Tx
from ostinato.taskqueue import Dispatcher
from ostinato.zones import tzdata_version


@dataclass(frozen=True, slots=True)
class Firing:
    """`row` is what the cron row is afterwards. Nothing is emitted if all that was due starts nothing."""

    row: JobCronRow
    emission: Emission | None
    skipped: tuple[Occurrence, ...]


def decide_firing(row: JobCronRow, schedule: Timetable, now: datetime) -> Firing | None:
    """None if nothing is due. `schedule` is the row's."""
    return firing_of(row, on_due(row.state, schedule, now), schedule, now)


def firing_of(row: JobCronRow, step: CronStep, schedule: Timetable, now: datetime) -> Firing | None:
    """What a step of the row's cron machine asks for; None if nothing changes."""
    if step.state == row.state and not step.skipped:
        return None
    emission = None if step.fired is None else _emission(row, step.fired, schedule, now)
    return Firing(replace(row, state=step.state), emission, tuple(_skipped(row, skipped) for skipped in step.skipped))


async def apply_firings(tx: Tx, dispatcher: Dispatcher, firings: Sequence[Firing], now: datetime) -> dict[int, Emitted]:
    """Emits the triggers and records what was skipped. The answer is by job id."""
    await insert_occurrences(tx, [skipped for firing in firings for skipped in firing.skipped], now=now)
    return await emit_triggers(tx, dispatcher, [firing.emission for firing in firings if firing.emission is not None])


def _emission(row: JobCronRow, fired: FiredSlot, schedule: Timetable, now: datetime) -> Emission:
    trigger = Trigger(id=cron_trigger_id(fired.generation), cron=CronPayload(generation=fired.generation))
    trigger.create_time.FromDatetime(now)
    trigger.cron.slot.FromDatetime(fired.slot)
    trigger.cron.due_time.FromDatetime(fired.due_at)
    if schedule.terms.time_zone != UTC_ZONE.name:
        trigger.cron.tzdata_version = tzdata_version()
    return Emission(row.job_id, row.project_id, trigger, fired.slot if schedule.is_absolute else None)


def _skipped(row: JobCronRow, skipped: SkippedRange) -> Occurrence:
    return Occurrence(job_id=row.job_id, slot=skipped.from_slot, outcome=skipped.outcome, until_slot=skipped.until_slot)
