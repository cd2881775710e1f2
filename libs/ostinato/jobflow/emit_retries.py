"""Makes runs that ended be tried again: each retry is a trigger that waits for an invocation of its own.

Whoever calls asks for the triage as well, in the same transaction; the triage plans the wake-up for what must wait.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from ostinato.jobstore.trigger_store import NewTrigger, count_waiting, insert_triggers
from ostinato.pb.scheduler.v1.triggers_pb2 import RetryPayload, Trigger
from ostinato.scheduling.trigger import MAX_WAITING, TriggerKind, retry_trigger_id
from ostinato.storage.transaction import Tx


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """`invocation` is the full name of the run that ended, `attempt` the number of the one to come."""

    job_id: int
    invocation: str
    attempt: int
    created_at: datetime
    not_before: datetime
    emitted_by: str
    traceparent: str = ""

    @property
    def trigger(self) -> Trigger:
        trigger = Trigger(
            id=retry_trigger_id(self.invocation),
            title=f"attempt {self.attempt}",
            emitted_by=self.emitted_by,
            traceparent=self.traceparent,
            retry=RetryPayload(invocation=self.invocation, attempt=self.attempt),
        )
        trigger.create_time.FromDatetime(self.created_at)
        trigger.not_before.FromDatetime(self.not_before)
        return trigger


async def emit_retries(tx: Tx, retries: Sequence[Retry]) -> list[Retry]:
    """Returns those that their jobs have no room for: these are not made. A run whose retry waits already keeps it."""
    if not retries:
        return []
    waiting = await count_waiting(tx, {retry.job_id for retry in retries}, most=MAX_WAITING)
    accepted, refused = [], []
    for retry in retries:
        if waiting[retry.job_id] < MAX_WAITING:
            waiting[retry.job_id] += 1
            accepted.append(retry)
        else:
            refused.append(retry)
    await insert_triggers(tx, [_new_trigger(retry) for retry in accepted])
    return refused


def _new_trigger(retry: Retry) -> NewTrigger:
    trigger = retry.trigger
    return NewTrigger(
        job_id=retry.job_id,
        trigger_id=trigger.id,
        kind=TriggerKind.RETRY,
        created_at=retry.created_at,
        order_in_batch=0,
        emitted_by=retry.emitted_by,
        slot=None,
        body=trigger.SerializeToString(),
        not_before=retry.not_before,
    )
