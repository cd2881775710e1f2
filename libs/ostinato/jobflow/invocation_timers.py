"""Timers of running invocations: each is a row and a task, both of the transaction that changed the invocation.

A timer goes with its effect or with the end of its run, whichever commits first; a task whose timer is gone does
nothing. The run's timeout ends a run whatever its timers do.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta

from ostinato.jobflow.engine_tasks import HANDLE_TIMER
from ostinato.jobstore.invocation_store import ChangedInvocation
from ostinato.jobstore.timer_store import StoredTimer, drop_timers, insert_timers
from ostinato.pb.internal.v1.engine_tasks_pb2 import HandleTimerTask
from ostinato.scheduling.invocation_id import InvocationId
from ostinato.storage.transaction import Tx
from ostinato.taskqueue import Dispatcher
from ostinato.telemetry.tracing import use_traceparent


@dataclass(frozen=True, slots=True)
class NewTimer:
    """`delay` counts from the change that sets it. `payload` is the target's own, `title` is for people."""

    delay: timedelta
    title: str
    payload: bytes = b""


@dataclass(frozen=True, slots=True)
class SetTimers:
    """What an applied change asks for. `traceparent`: the trace that the timers belong to."""

    row: ChangedInvocation
    timers: Sequence[NewTimer]
    traceparent: str | None


async def set_timers(tx: Tx, dispatcher: Dispatcher, wanted: Sequence[SetTimers]) -> list[StoredTimer]:
    """The caller has just changed the invocations, so it holds their locks and their versions are new."""
    stored = [
        await _with_task(tx, dispatcher, entry, index, timer)
        for entry in wanted
        for index, timer in enumerate(entry.timers)
    ]
    if stored:
        await insert_timers(tx, stored)
    return stored


async def end_timers(tx: Tx, invocation_ids: Collection[InvocationId]) -> list[StoredTimer]:
    """Of invocations that the caller has just ended. Their tasks come and find nothing."""
    return await drop_timers(tx, invocation_ids) if invocation_ids else []


async def _with_task(tx: Tx, dispatcher: Dispatcher, wanted: SetTimers, index: int, timer: NewTimer) -> StoredTimer:
    row = wanted.row
    timer_id = f"{row.version}:{index}"
    with use_traceparent(wanted.traceparent):
        task_id = await dispatcher.add(
            HANDLE_TIMER,
            HandleTimerTask(invocation_id=row.id, timer_id=timer_id),
            tx=tx,
            delay=timer.delay,
            fair_key=row.project_id,
        )
    return StoredTimer(
        row.id, timer_id, timer.title, timer.payload, row.changed_at, row.changed_at + timer.delay, task_id
    )
