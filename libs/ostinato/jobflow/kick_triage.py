"""Asks for a triage of jobs, in the transaction that changed what a triage would see.

One task per job, unconditionally: skipping it because one is queued already would lose wake-ups. The engine
merges the tasks of one job.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ostinato.jobflow.engine_tasks import TRIAGE_JOB
from ostinato.pb.internal.v1.engine_tasks_pb2 import TriageJobTask
from ostinato.storage.transaction import Tx
from ostinato.taskqueue import Dispatcher
from ostinato.telemetry.tracing import current_traceparent, use_traceparent


async def kick_triage(
    tx: Tx, dispatcher: Dispatcher, jobs: Iterable[tuple[int, int]], traces: Mapping[int, str] | None = None
) -> None:
    """`jobs` are pairs of job id and project id; the project is the key of fairness between tasks.

    `traces`: the traceparent of what happened to a job, by its id; the current trace where it has none.
    """
    kicked_jobs = sorted(set(jobs))
    if not kicked_jobs or await _start_here(tx, dispatcher, kicked_jobs, traces or {}):
        return
    by_trace: dict[str | None, list[tuple[int, int]]] = {}
    for job in kicked_jobs:
        by_trace.setdefault(traces.get(job[0]) if traces else None, []).append(job)
    for traceparent, kicked in by_trace.items():
        if traceparent is None:
            await _kick(tx, dispatcher, kicked)
            continue
        with use_traceparent(traceparent):
            await _kick(tx, dispatcher, kicked)


async def _start_here(tx: Tx, dispatcher: Dispatcher, kicked: list[tuple[int, int]], traces: Mapping[int, str]) -> bool:
    """An engine without other triages looks at once itself, and needs no claim for it."""
    current = current_traceparent()
    added = await dispatcher.start_here(
        TRIAGE_JOB,
        [TriageJobTask(job_id=job_id) for job_id, _ in kicked],
        tx=tx,
        fair_keys=[project_id for _, project_id in kicked],
        traceparents=[traces.get(job_id, current) for job_id, _ in kicked],
    )
    return added is not None


async def _kick(tx: Tx, dispatcher: Dispatcher, kicked: list[tuple[int, int]]) -> None:
    await dispatcher.add_many(
        TRIAGE_JOB,
        [TriageJobTask(job_id=job_id) for job_id, _ in kicked],
        tx=tx,
        fair_keys=[project_id for _, project_id in kicked],
    )
