"""Gives jobs reasons to run, in the transaction of whatever caused them.

Takes no job lock: a new trigger and the kick that makes a triage see it commit together. Idempotent by trigger
id: an id that is pending or remembered is left alone, and its job is not kicked for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from ostinato.jobflow.kick_triage import kick_triage
from ostinato.jobstore.trigger_store import NewTrigger, TriggerKey, insert_triggers
from ostinato.pb.scheduler.v1.triggers_pb2 import Trigger
from ostinato.scheduling.trigger import TriggerKind
from ostinato.storage.transaction import Tx
from ostinato.taskqueue import Dispatcher
from ostinato.telemetry.tracing import current_traceparent

# A trigger without a payload is an event that carries no data.
_KINDS = {
    None: TriggerKind.EVENT,
    "cron": TriggerKind.CRON,
    "console": TriggerKind.CONSOLE,
    "noop": TriggerKind.NOOP,
    "event": TriggerKind.EVENT,
    "upstream": TriggerKind.UPSTREAM,
}


@dataclass(frozen=True, slots=True)
class Emission:
    """One trigger for one job. `slot`: the slot of an absolute schedule that caused it.

    With `not_before`, which the trigger says as well, it becomes an invocation of its own, no earlier than that.
    """

    job_id: int
    project_id: int
    trigger: Trigger
    slot: datetime | None = None
    not_before: datetime | None = None


@dataclass(frozen=True, slots=True)
class Emitted:
    """What became of one job's emissions: ids that are pending now, and ids that were there already."""

    accepted: tuple[str, ...]
    duplicates: tuple[str, ...]


async def emit_triggers(tx: Tx, dispatcher: Dispatcher, emissions: Sequence[Emission]) -> dict[int, Emitted]:
    """Makes triggers pending and asks for a triage of each job that got any. The answer is by job id.

    A trigger without `create_time` gets the transaction's time, one without `traceparent` the current trace.
    """
    if not emissions:
        return {}
    trace = current_traceparent() or ""
    inserted = set(await insert_triggers(tx, [await _new_trigger(tx, emission, trace) for emission in emissions]))
    touched = {job_id for job_id, _ in inserted}
    jobs = {emission.job_id: emission for emission in emissions if emission.job_id in touched}
    await kick_triage(tx, dispatcher, ((job.job_id, job.project_id) for job in jobs.values()), _traces(jobs.values()))
    return _told_apart(emissions, inserted)


def _traces(emissions: Iterable[Emission]) -> dict[int, str]:
    return {emission.job_id: emission.trigger.traceparent for emission in emissions if emission.trigger.traceparent}


async def _new_trigger(tx: Tx, emission: Emission, current_trace: str) -> NewTrigger:
    trigger = emission.trigger
    traceparent = trigger.traceparent or current_trace
    if traceparent != trigger.traceparent or not trigger.HasField("create_time"):
        trigger = Trigger()
        trigger.CopyFrom(emission.trigger)
        trigger.traceparent = traceparent
    if not trigger.HasField("create_time"):
        trigger.create_time.FromDatetime(await tx.now())
    return NewTrigger(
        job_id=emission.job_id,
        trigger_id=trigger.id,
        kind=_KINDS[trigger.WhichOneof("payload")],
        created_at=trigger.create_time.ToDatetime(tzinfo=UTC),
        order_in_batch=trigger.order_in_batch,
        emitted_by=trigger.emitted_by,
        slot=emission.slot,
        body=trigger.SerializeToString(),
        not_before=emission.not_before,
    )


def _told_apart(emissions: Sequence[Emission], inserted: set[TriggerKey]) -> dict[int, Emitted]:
    accepted: dict[int, list[str]] = {}
    duplicates: dict[int, list[str]] = {}
    left = set(inserted)
    for emission in emissions:
        key = (emission.job_id, emission.trigger.id)
        target = accepted if key in left else duplicates
        left.discard(key)
        target.setdefault(emission.job_id, []).append(emission.trigger.id)
    return {
        job_id: Emitted(tuple(accepted.get(job_id, ())), tuple(duplicates.get(job_id, ())))
        for job_id in {emission.job_id for emission in emissions}
    }
