"""RetryInvocation: what has ended is run once more, however often its policy would have done so."""

from __future__ import annotations

from datetime import timedelta

from ostinato.auth.call_access import CallAccess
from ostinato.errors import FailedPrecondition, ResourceExhausted
from ostinato.jobflow.emit_retries import Retry, emit_retries
from ostinato.jobflow.kick_triage import kick_triage
from ostinato.jobstore.invocation_listing_store import ListedInvocation, find_listed_invocation
from ostinato.jobstore.job_store import JobRow
from ostinato.jobstore.retry_store import bring_forward
from ostinato.pb.scheduler.v1.invocations_pb2 import RetryInvocationRequest, RetryInvocationResponse
from ostinato.pb.scheduler.v1.triggers_pb2 import Trigger
from ostinato.scheduling.invocation import is_final
from ostinato.scheduling.names import invocation_name
from ostinato.scheduling.retrying import next_attempt
from ostinato.scheduling.trigger import MAX_WAITING
from ostinato.storage.transaction import Tx
from ostinato.telemetry.tracing import current_traceparent
from ostinato_api.api_resources import ApiResources
from ostinato_api.job_access import lock_accessible_job
from ostinato_api.request_checks import InvocationKey, RequestChecks

_TRY_AGAIN_AFTER = timedelta(minutes=1)


async def retry_invocation(
    api: ApiResources, access: CallAccess, request: RetryInvocationRequest
) -> RetryInvocationResponse:
    """A retry that waits already is brought forward: until it has started, repeating the call makes no second one."""
    checks = RequestChecks()
    key = checks.invocation(request.name)
    checks.finish()
    return RetryInvocationResponse(trigger=await api.db.transact(lambda tx: _apply(tx, api, access, key)))


async def _apply(tx: Tx, api: ApiResources, access: CallAccess, key: InvocationKey) -> Trigger:
    # Rows of triggers change under the lock of their job only.
    job, _ = await lock_accessible_job(tx, access, key.job)
    run = await find_listed_invocation(tx, key.id)
    if run is None or run.job_id != job.job_id:
        raise access.not_found(invocation_name(job.resource_name, key.id))
    _check(job, run)
    trigger = await _make_retry(tx, await _retry(tx, access, job, run))
    await kick_triage(tx, api.dispatcher, [(job.job_id, job.project_id)])
    return trigger


async def _make_retry(tx: Tx, retry: Retry) -> Trigger:
    trigger = retry.trigger
    waiting = await bring_forward(
        tx,
        retry.job_id,
        trigger.id,
        not_before=retry.not_before,
        emitted_by=retry.emitted_by,
        body=trigger.SerializeToString(),
    )
    if waiting is not None:
        return Trigger.FromString(waiting)
    if await emit_retries(tx, [retry]):
        raise ResourceExhausted(f"{MAX_WAITING} retries of the job wait already", retry_after=_TRY_AGAIN_AFTER)
    return trigger


def _check(job: JobRow, run: ListedInvocation) -> None:
    name = invocation_name(job.resource_name, run.id)
    if not is_final(run.status):
        raise FailedPrecondition(f"{name} has not ended, it is {run.status.name}")
    if not job.enabled:
        raise FailedPrecondition(f"{job.resource_name} is disabled: it is in no config any more")


async def _retry(tx: Tx, access: CallAccess, job: JobRow, run: ListedInvocation) -> Retry:
    now = await tx.now()
    return Retry(
        job_id=job.job_id,
        invocation=invocation_name(job.resource_name, run.id),
        attempt=next_attempt(run.attempt),
        created_at=now,
        not_before=now,
        emitted_by=access.caller.identity,
        traceparent=current_traceparent() or "",
    )
