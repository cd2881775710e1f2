"""How a triage moves the `last_…` fields of its job. Pure.

An aborted invocation moves the time of completion and nothing else: it says nothing about whether the job works.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from ostinato.jobstore.triage_store import ActiveRow, JobMarks
from ostinato.scheduling.invocation import InvocationStatus
from ostinato.scheduling.triage import TriagePlan
from ostinato_engine.triage_loading import LoadedJob

_SUCCESSES = (InvocationStatus.SUCCEEDED,)
_FAILURES = (InvocationStatus.FAILED, InvocationStatus.TIMED_OUT)


def job_marks(job: LoadedJob, plan: TriagePlan, *, problems: Sequence[str]) -> JobMarks:
    """`problems`: what is wrong with the job's stored data, which people should see before anything else."""
    wake_at = plan.next_wake_at if plan.adds_wake else job.snapshot.wake_planned_at
    if not (plan.acknowledged or plan.requests or problems):
        return JobMarks(job.row.job_id, wake_at=wake_at)
    ended = _ended(job, plan)
    judged = [(at, row) for at, row in ended if row.status is not InvocationStatus.ABORTED]
    newest = judged[-1][1] if judged else None
    slots = [request.scheduled_for for request in plan.requests if request.scheduled_for is not None]
    return JobMarks(
        job_id=job.row.job_id,
        last_scheduled_at=max(slots, default=None),
        last_completed_at=ended[-1][0] if ended else None,
        last_success_at=_latest(judged, _SUCCESSES),
        last_failure_at=_latest(judged, _FAILURES),
        last_status=newest.status if newest else None,
        last_error="; ".join(problems) or (_error_of(newest) if newest else None),
        last_start_at=job.snapshot.now if plan.requests else None,
        wake_at=wake_at,
    )


def next_start_not_before(job: LoadedJob, plan: TriagePlan, now: datetime) -> datetime:
    """When a relative schedule may start the next run: after a failure not before the backoff of retries."""
    judged = [row for _, row in _ended(job, plan) if row.status is not InvocationStatus.ABORTED]
    failed = bool(judged) and judged[-1].status in _FAILURES
    return now + job.terms.pause_after_failure if failed else now


def _ended(job: LoadedJob, plan: TriagePlan) -> list[tuple[datetime, ActiveRow]]:
    """What was acknowledged, by its end, oldest first."""
    acknowledged = set(plan.acknowledged)
    ended = [
        (row.finished_at, row)
        for row in job.active
        if row.invocation_id in acknowledged and row.finished_at is not None
    ]
    return sorted(ended, key=lambda entry: entry[0])


def _latest(ended: Sequence[tuple[datetime, ActiveRow]], statuses: Collection[InvocationStatus]) -> datetime | None:
    return max((at for at, row in ended if row.status in statuses), default=None)


def _error_of(row: ActiveRow) -> str:
    """Empty after a success."""
    return row.error_message or row.error_reason
