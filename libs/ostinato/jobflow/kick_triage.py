"""Asks for a triage of jobs, in the transaction that changed what a triage would see.

One task per job, unconditionally: skipping it because one is queued already would lose wake-ups. The engine
merges the tasks of one job.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from ostinato.jobflow.engine_tasks import TRIAGE_JOB
from ostinato.pb.internal.v1.engine_tasks_pb2 import TriageJobTask
from ostinato.storage.transaction import Tx
from ostinato.taskqueue import Dispatcher


class TriagedJob(Protocol):
    """What a kick needs to know of a job; the project is the key of fairness between tasks."""

    @property
    def job_id(self) -> int: ...

    @property
    def project_id(self) -> int: ...


async def kick_triage(tx: Tx, dispatcher: Dispatcher, jobs: Iterable[TriagedJob]) -> None:
    projects = {job.job_id: job.project_id for job in jobs}
    if not projects:
        return
    await dispatcher.add_many(
        TRIAGE_JOB,
        [TriageJobTask(job_id=job_id) for job_id in sorted(projects)],
        tx=tx,
        fair_keys=[projects[job_id] for job_id in sorted(projects)],
    )
