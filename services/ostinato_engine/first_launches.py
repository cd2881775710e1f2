"""The launch tasks of new invocations; and their first attempts, where this process makes the calls itself.

Transaction A of a launch counts the attempt before anything outside is called. When the process that creates an
invocation also starts its launch at once, the transaction that creates it is A: the attempt is counted with the row,
and what the launch needs to know is at hand. If the process dies after the commit, the task is delivered elsewhere
and that launch counts the next attempt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from ostinato.jobflow.engine_tasks import LAUNCH_INVOCATION
from ostinato.jobstore.invocation_store import InvocationInput, StoredInvocation
from ostinato.jobstore.job_definition_codec import decode_definition
from ostinato.jobstore.triage_store import FIRST_VERSION
from ostinato.pb.internal.v1.engine_tasks_pb2 import LaunchInvocationTask
from ostinato.scheduling.invocation import InvocationStatus
from ostinato.scheduling.invocation_id import InvocationId
from ostinato.storage.transaction import Tx
from ostinato.taskqueue import Dispatcher
from ostinato.telemetry.tracing import use_traceparent
from ostinato_engine.begin_launches import LaunchAttempt, attempt_line


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRun:
    """An invocation that is about to be inserted; its launch becomes part of the trace."""

    id: InvocationId
    job_id: int
    project_id: int
    attempt: int  # of the run, by its retry policy
    scheduled_for: datetime | None
    input: InvocationInput
    traceparent: str | None

    @property
    def task(self) -> LaunchInvocationTask:
        return LaunchInvocationTask(job_id=self.job_id, invocation_id=self.id)

    def first_attempt(self, now: datetime) -> LaunchAttempt:
        definition = decode_definition(self.input.definition)
        invocation = StoredInvocation(
            id=self.id,
            job_id=self.job_id,
            project_id=self.project_id,
            version=FIRST_VERSION,
            status=InvocationStatus.STARTING,
            attempt=self.attempt,
            launch_attempts=1,
            created_at=now,
            started_at=now,
            scheduled_for=self.scheduled_for,
            last_heartbeat_at=None,
            read_at=now,
        )
        return LaunchAttempt(invocation, self.input, definition, number=1, time_left=definition.timeout)


@dataclass(frozen=True, slots=True)
class AddedLaunches:
    """Ids of the tasks, in the order of the runs. `line`: the first attempts begin now, and the logs say so."""

    task_ids: Sequence[int]
    line: str | None = None


async def add_launches(tx: Tx, dispatcher: Dispatcher, runs: Sequence[NewRun], now: datetime) -> AddedLaunches:
    begun = await dispatcher.start_here(
        LAUNCH_INVOCATION,
        [run.task for run in runs],
        tx=tx,
        fair_keys=[run.project_id for run in runs],
        traceparents=[run.traceparent for run in runs],
        given=lambda: [run.first_attempt(now) for run in runs],
    )
    if begun is None:
        return AddedLaunches(await _add_for_anybody(tx, dispatcher, runs))
    return AddedLaunches(begun, attempt_line(1))


async def _add_for_anybody(tx: Tx, dispatcher: Dispatcher, runs: Sequence[NewRun]) -> list[int]:
    by_trace: dict[str | None, list[int]] = {}
    for index, run in enumerate(runs):
        by_trace.setdefault(run.traceparent, []).append(index)
    task_ids: dict[int, int] = {}
    for traceparent, indexes in by_trace.items():
        with use_traceparent(traceparent):
            added = await dispatcher.add_many(
                LAUNCH_INVOCATION,
                [runs[index].task for index in indexes],
                tx=tx,
                fair_keys=[runs[index].project_id for index in indexes],
            )
        task_ids |= dict(zip(indexes, added, strict=True))
    return [task_ids[index] for index in range(len(runs))]
