"""Asks for a triage of jobs, in the transaction that changed what a triage would see.

One task per job, unconditionally: skipping it because one is queued already would lose wake-ups. The engine
merges the tasks of one job.
"""

from __future__ import annotations

from collections.abc import Iterable

from ostinato.jobflow.engine_tasks import TRIAGE_JOB
from ostinato.pb.internal.v1.engine_tasks_pb2 import TriageJobTask
from ostinato.storage.transaction import Tx
from ostinato.taskqueue import Dispatcher


async def kick_triage(tx: Tx, dispatcher: Dispatcher, jobs: Iterable[tuple[int, int]]) -> None:
    """`jobs` are pairs of job id and project id; the project is the key of fairness between tasks."""
    kicked = sorted(set(jobs))
    if not kicked:
        return
    await dispatcher.add_many(
        TRIAGE_JOB,
        [TriageJobTask(job_id=job_id) for job_id, _ in kicked],
        tx=tx,
        fair_keys=[project_id for _, project_id in kicked],
    )
