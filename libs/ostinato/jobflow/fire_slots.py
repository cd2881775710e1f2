"""What firing a due cron row means: its trigger, and in the ledger the slots that were missed.

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
from ostinato.scheduling.cron_machine import FiredSlot, SkippedRange, on_due
from ostinato.scheduling.occurrence import OccurrenceOutcome
from ostinato.scheduling.schedule import Schedule
from ostinato.scheduling.trigger import cron_trigger_id
from ostinato.storage.transaction import Tx
from ostinato.taskqueue import Dispatcher


@dataclass(frozen=True, slots=True)
class Firing:
    """`row` is what the cron row is afterwards."""

    row: JobCronRow
    emission: Emission
    skipped: Occurrence | None


def decide_firing(row: JobCronRow, schedule: Schedule, now: datetime) -> Firing | None:
    """None if nothing is due. `schedule` is the row's, parsed."""
    step = on_due(row.state, schedule, now)
    if step.fired is None:
        return None
    emission = _emission(row, step.fired, now, in_ledger=schedule.is_absolute)
    skipped = None if step.skipped is None else _skipped(row, step.skipped)
    return Firing(replace(row, state=step.state), emission, skipped)


async def apply_firings(tx: Tx, dispatcher: Dispatcher, firings: Sequence[Firing], now: datetime) -> dict[int, Emitted]:
    """Emits the triggers and records what was skipped. The answer is by job id."""
    await insert_occurrences(tx, [firing.skipped for firing in firings if firing.skipped is not None], now=now)
    return await emit_triggers(tx, dispatcher, [firing.emission for firing in firings])


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
