"""PauseJob and ResumeJob: one transaction with what follows for the schedule, the pending triggers and the runs."""

from __future__ import annotations

from dataclasses import dataclass

from ostinato.auth.call_access import CallAccess
from ostinato.auth.permissions import Permission
from ostinato.errors import FailedPrecondition
from ostinato.jobflow.kick_triage import kick_triage
from ostinato.jobflow.poke_cron import CronWish, poke_cron
from ostinato.jobstore.invocation_listing_store import find_running_invocations
from ostinato.jobstore.job_cron_store import lock_crons
from ostinato.jobstore.job_listing_store import find_job_view
from ostinato.jobstore.job_store import JobKey, JobRow, set_paused
from ostinato.jobstore.schedule_terms_codec import terms_of
from ostinato.pb.scheduler.v1.jobs_pb2 import Job, PauseJobRequest, ResumeJobRequest
from ostinato.pb.scheduler.v1.project_config_pb2 import JobConfig
from ostinato.storage.transaction import Tx
from ostinato_api.abort_invocations import abort_invocations
from ostinato_api.api_resources import ApiResources
from ostinato_api.job_access import lock_accessible_job
from ostinato_api.job_message import job_message
from ostinato_api.project_config.bindings import policy_of
from ostinato_api.request_checks import RequestChecks

MAX_REASON_BYTES = 1000


@dataclass(frozen=True, slots=True)
class _Wish:
    key: JobKey
    paused: bool
    reason: str
    abort_active: bool = False


async def pause_job(api: ApiResources, access: CallAccess, request: PauseJobRequest) -> Job:
    checks = RequestChecks()
    key = checks.job(request.name)
    reason = checks.text(request.reason, "reason", max_bytes=MAX_REASON_BYTES)
    checks.finish()
    wish = _Wish(key, paused=True, reason=reason, abort_active=request.abort_active)
    return await api.db.transact(lambda tx: _apply(tx, api, access, wish))


async def resume_job(api: ApiResources, access: CallAccess, request: ResumeJobRequest) -> Job:
    checks = RequestChecks()
    key = checks.job(request.name)
    reason = checks.text(request.reason, "reason", max_bytes=MAX_REASON_BYTES)
    checks.finish()
    return await api.db.transact(lambda tx: _apply(tx, api, access, _Wish(key, paused=False, reason=reason)))


async def _apply(tx: Tx, api: ApiResources, access: CallAccess, wish: _Wish) -> Job:
    """Idempotent: a job that is as wished keeps the reason and the time of the change that made it so."""
    job, bindings = await lock_accessible_job(tx, access, wish.key)
    if wish.abort_active:
        access.require_job(policy_of(bindings), job.realm, job.resource_name, Permission.JOBS_ABORT)
    if not job.enabled:
        raise FailedPrecondition(f"{job.resource_name} is disabled: it is in no config any more")
    if job.paused != wish.paused:
        await _change(tx, api, access, job, wish)
    if wish.abort_active:
        running = await find_running_invocations(tx, job.job_id)
        await abort_invocations(tx, api.dispatcher, running, by=access.caller.identity, reason=wish.reason)
    view = await find_job_view(tx, wish.key)
    assert view is not None, "the job is locked, so it exists"
    return job_message(view)


async def _change(tx: Tx, api: ApiResources, access: CallAccess, job: JobRow, wish: _Wish) -> None:
    locked = await lock_crons(tx, [job.job_id])
    changed = await set_paused(
        tx, job.job_id, paused=wish.paused, reason=wish.reason, by=access.caller.identity, now=await tx.now()
    )
    await poke_cron(tx, api.dispatcher, [_cron_wish(changed)], locked=locked)
    await kick_triage(tx, api.dispatcher, [(job.job_id, job.project_id)])


def _cron_wish(job: JobRow) -> CronWish:
    config = JobConfig.FromString(job.definition)
    return CronWish(
        job_id=job.job_id,
        project_id=job.project_id,
        job_name=job.resource_name,
        schedule=config.schedule,
        terms=terms_of(config),
        enabled=job.enabled,
        paused=job.paused,
        revision=job.revision,
    )
