"""Triage: looks at jobs whose triggers or invocations changed, and starts what their policies allow.

Coalescing without lost wake-ups: every change of what triage would see adds a task of its own. All tasks of a
job in one call were claimed, so committed, before the snapshot here is read; the snapshot sees what they told of,
and they are completed by the transaction that acts on it. A task that comes later belongs to the next run.
Idempotent because a trigger is consumed and an end acknowledged once, under the job's lock.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from random import Random

from ostinato.errors import StaleLease, Transient
from ostinato.jobstore.triage_log_store import TriageLogRow, append_triage_log
from ostinato.jobstore.triage_store import TriagedJobRow, load_existing, lock_free_jobs, set_job_error
from ostinato.scheduling.triage import decide_triage
from ostinato.scheduling.triage_plan import DROPS
from ostinato.storage.database import FEW_ROWS, Database
from ostinato.storage.transaction import Tx
from ostinato.taskqueue import Dispatcher, Outcome, TaskContext, complete_many_in
from ostinato_engine.engine_metrics import EngineMetrics
from ostinato_engine.job_terms import JobTermsCache
from ostinato_engine.triage_applying import DecidedJob, apply_plans
from ostinato_engine.triage_loading import load_jobs
from ostinato_engine.triage_record import failure_record

_ATTEMPTS = 3
_MOST_OF_A_PART = 250  # jobs of one transaction


class TriageJobs:
    """The batch handler of TriageJobTask.

    `rewound` is called after a commit that gave a schedule its next due time. `random` draws the ids of invocations.
    """

    def __init__(
        self,
        db: Database,
        dispatcher: Dispatcher,
        *,
        metrics: EngineMetrics,
        rewound: Callable[[], None],
        random: Random | None = None,
    ) -> None:
        self._db = db
        self._dispatcher = dispatcher
        self._metrics = metrics
        self._rewound = rewound
        self._random = random or Random()
        self._terms = JobTermsCache()

    async def handle_triage_jobs(self, tasks: Sequence[TaskContext]) -> Sequence[Outcome | None]:
        """Jobs that are locked elsewhere come again in a moment."""
        by_job: dict[int, list[TaskContext]] = {}
        for task in tasks:
            by_job.setdefault(task.payload.job_id, []).append(task)
        parts = await asyncio.gather(*map(self._triage_part, _parts(by_job)), return_exceptions=True)
        left: set[int] = set()
        for part in parts:  # after the last one ended: what a part committed is not run again with one that failed
            if isinstance(part, BaseException):
                raise part
            left |= part
        return [Outcome.again() if task.payload.job_id in left else None for task in tasks]

    async def _triage_part(self, by_job: Mapping[int, Sequence[TaskContext]]) -> set[int]:
        """One transaction. Returns the ids of the jobs that were left alone."""
        try:
            return await self._db.transact(
                lambda tx: self._triage(tx, by_job), attempts=_ATTEMPTS, few_rows=len(by_job) <= FEW_ROWS
            )
        except (Transient, StaleLease):
            raise
        except Exception as error:
            if len(by_job) == 1:  # of several jobs nobody knows which one it is: they are run again one by one
                await self._record_failure(next(iter(by_job)), error)
            raise

    async def _triage(self, tx: Tx, by_job: Mapping[int, Sequence[TaskContext]]) -> set[int]:
        """Returns the ids of the jobs that were left alone."""
        rows: dict[int, TriagedJobRow] = {row.job_id: row for row in await lock_free_jobs(tx, by_job.keys())}
        left = await _locked_elsewhere(tx, [job_id for job_id in by_job if job_id not in rows])
        if rows:
            # In the order of the tasks, so that a job which finds no room is among the first next time.
            due = {job_id: max(task.eta for task in tasks) for job_id, tasks in by_job.items()}
            loading = await load_jobs(tx, [rows[job_id] for job_id in by_job if job_id in rows], self._terms, due)
            left |= loading.postponed
            decided = [
                DecidedJob(job, decide_triage(job.snapshot), _traces(by_job[job.row.job_id])) for job in loading.jobs
            ]
            if await apply_plans(tx, self._dispatcher, self._random, decided):
                tx.after_commit(self._rewound)
            tx.after_commit(lambda: self._count(decided))
        await complete_many_in(tx, [task for job_id, tasks in by_job.items() if job_id not in left for task in tasks])
        return left

    def _count(self, decided: Sequence[DecidedJob]) -> None:
        self._metrics.triaged.inc(len(decided))
        self._metrics.triage_jobs.observe(len(decided))
        self._metrics.started.inc(sum(len(entry.plan.requests) for entry in decided))
        for decision in (decision for entry in decided for decision in entry.plan.decisions):
            if decision.reason in DROPS:
                self._metrics.dropped_triggers.labels(decision.reason).inc(decision.count)

    async def _record_failure(self, job_id: int, error: Exception) -> None:
        """So that people see why the job stands still while its task is retried."""
        text = f"the triage failed: {type(error).__name__}: {error}".replace("\0", "")
        async with self._db.transaction() as tx:
            await set_job_error(tx, job_id, text)
            await append_triage_log(tx, [TriageLogRow(job_id, failure_record(text))], now=await tx.now())


def _parts(by_job: Mapping[int, Sequence[TaskContext]]) -> list[dict[int, Sequence[TaskContext]]]:
    """Parts go side by side: while the server works for one, this process works on another."""
    entries = [*by_job.items()]
    return [dict(entries[first : first + _MOST_OF_A_PART]) for first in range(0, len(entries), _MOST_OF_A_PART)]


async def _locked_elsewhere(tx: Tx, job_ids: Collection[int]) -> set[int]:
    """Jobs that don't exist have nothing to triage; the others come again."""
    return await load_existing(tx, job_ids) if job_ids else set()


def _traces(tasks: Sequence[TaskContext]) -> tuple[str, ...]:
    return tuple(trace for task in tasks if (trace := task.traceparent))
