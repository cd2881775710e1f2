"""What firing a due cron row means: its triggers, and in the ledger the slots that were missed or start nothing.

The caller holds the row's lock and saves the row moved on, in the same transaction.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from ostinato.jobflow.emit_triggers import Emission, Emitted, emit_triggers
from ostinato.jobstore.job_cron_store import JobCronRow
from ostinato.jobstore.occurrence_store import Occurrence, insert_occurrences
from ostinato.jobstore.trigger_store import count_waiting
from ostinato.pb.scheduler.v1.triggers_pb2 import CronPayload, Trigger
from ostinato.scheduling.cron_machine import CronStep, FiredSlot, SkippedRange, on_due
from ostinato.scheduling.occurrence import OccurrenceOutcome
from ostinato.scheduling.schedule import UTC_ZONE, Timetable
from ostinato.scheduling.trigger import MAX_WAITING, cron_trigger_id
from ostinato.storage.transaction import Tx
from ostinato.taskqueue import Dispatcher
from ostinato.zones import tzdata_version


@dataclass(frozen=True, slots=True)
class Firing:
    """`row` is what the cron row is afterwards. Nothing is emitted if all that was due starts nothing.

    `fired` and `emissions` are the same slots, in the same order.
    """

    row: JobCronRow
    fired: tuple[FiredSlot, ...]
    emissions: tuple[Emission, ...]
    skipped: tuple[Occurrence, ...]


def decide_firing(row: JobCronRow, schedule: Timetable, now: datetime) -> Firing | None:
    """None if nothing is due. `schedule` is the row's."""
    return firing_of(row, on_due(row.state, schedule, now), schedule, now)


def firing_of(row: JobCronRow, step: CronStep, schedule: Timetable, now: datetime) -> Firing | None:
    """What a step of the row's cron machine asks for; None if nothing changes."""
    if step.state == row.state and not step.skipped:
        return None
    created = _timestamp(now)
    return Firing(
        replace(row, state=step.state),
        step.fired,
        tuple(_emission(row, fired, schedule, now, created) for fired in step.fired),
        tuple(_skipped(row, skipped) for skipped in step.skipped),
    )


async def apply_firings(tx: Tx, dispatcher: Dispatcher, firings: Sequence[Firing], now: datetime) -> dict[int, Emitted]:
    """Emits the triggers and records what was skipped. The answer is by job id."""
    emissions, without_room = await _with_room(tx, [emission for firing in firings for emission in firing.emissions])
    skipped = [skipped for firing in firings for skipped in firing.skipped]
    await insert_occurrences(tx, [*skipped, *without_room], now=now)
    return await emit_triggers(tx, dispatcher, emissions)


async def _with_room(tx: Tx, emissions: Sequence[Emission]) -> tuple[Sequence[Emission], list[Occurrence]]:
    """Apart from those for which too many of their job wait for a run of their own: the oldest of these are skipped."""
    own_runs = Counter(emission.job_id for emission in emissions if emission.not_before is not None)
    if not own_runs:
        return emissions, []
    waiting = await count_waiting(tx, own_runs.keys(), most=MAX_WAITING)
    excess = {job_id: count + waiting[job_id] - MAX_WAITING for job_id, count in own_runs.items()}
    kept: list[Emission] = []
    skipped: list[Occurrence] = []
    for emission in emissions:  # those of a job are in the order of their slots
        if emission.not_before is None or emission.slot is None or excess[emission.job_id] <= 0:
            kept.append(emission)
            continue
        excess[emission.job_id] -= 1
        skipped.append(Occurrence(emission.job_id, emission.slot, OccurrenceOutcome.SKIPPED_CATCHUP))
    return kept, skipped


def _emission(row: JobCronRow, fired: FiredSlot, schedule: Timetable, now: datetime, created: Timestamp) -> Emission:
    """A thousand of them may come at once, so no time is converted twice. `created` is `now`."""
    slot = _timestamp(fired.slot)
    due_time = slot if fired.due_at == fired.slot else _timestamp(fired.due_at)
    is_ahead = fired.due_at > now
    trigger = Trigger(
        id=cron_trigger_id(fired.generation),
        create_time=created,
        cron=CronPayload(
            generation=fired.generation,
            slot=slot,
            due_time=due_time,
            tzdata_version="" if schedule.terms.time_zone == UTC_ZONE.name else tzdata_version(),
        ),
        # What is due may start at once, in the order of slots.
        not_before=(due_time if is_ahead else slot) if fired.own_run else None,
    )
    return Emission(
        row.job_id,
        row.project_id,
        trigger,
        slot=fired.slot if schedule.is_absolute else None,
        not_before=(fired.due_at if is_ahead else fired.slot) if fired.own_run else None,
    )


def _timestamp(at: datetime) -> Timestamp:
    timestamp = Timestamp()
    timestamp.FromDatetime(at)
    return timestamp


def _skipped(row: JobCronRow, skipped: SkippedRange) -> Occurrence:
    return Occurrence(job_id=row.job_id, slot=skipped.from_slot, outcome=skipped.outcome, until_slot=skipped.until_slot)
