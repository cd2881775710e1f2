"""GetDebugJobState: what triage would see of a job."""

from __future__ import annotations

from ostinato.auth.call_access import CallAccess
from ostinato.jobstore.invocation_listing_store import list_active_invocations
from ostinato.jobstore.job_cron_store import JobCronRow, find_cron
from ostinato.jobstore.job_store import JobKey, find_job
from ostinato.jobstore.trigger_store import list_pending
from ostinato.pb.scheduler.v1.admin_pb2 import CronState, DebugJobState, GetDebugJobStateRequest
from ostinato.scheduling.names import job_name
from ostinato.storage.transaction import Tx
from ostinato_api.api_resources import ApiResources
from ostinato_api.invocation_message import invocation_message
from ostinato_api.list_triggers import trigger_message
from ostinato_api.proto_time import set_time
from ostinato_api.request_checks import MAX_PAGE, RequestChecks


async def get_debug_job_state(api: ApiResources, access: CallAccess, request: GetDebugJobStateRequest) -> DebugJobState:
    """At most 500 invocations and triggers each; several reads, so not one instant of a busy job."""
    checks = RequestChecks()
    key = checks.job(request.name)
    checks.finish()
    async with api.db.transaction() as tx:
        return await _load(tx, access, key)


async def _load(tx: Tx, access: CallAccess, key: JobKey) -> DebugJobState:
    job = await find_job(tx, key)
    if job is None:
        raise access.not_found(job_name(*key))
    cron = await find_cron(tx, job.job_id)
    active = await list_active_invocations(tx, job.job_id, limit=MAX_PAGE)
    pending = await list_pending(tx, job.job_id, after=None, limit=MAX_PAGE)
    state = DebugJobState(
        enabled=job.enabled,
        paused=job.paused,
        active_invocations=[invocation_message(row) for row in active],
        pending_triggers=[trigger_message(row) for row in pending],
    )
    set_time(state.last_triage_time, job.last_triage_at)
    if cron is not None:
        state.cron_state.CopyFrom(_cron_message(cron))
    return state


def _cron_message(cron: JobCronRow) -> CronState:
    message = CronState(enabled=cron.state.enabled, generation=cron.state.generation)
    set_time(message.last_rewind_time, cron.state.last_rewind_at)
    set_time(message.next_slot_time, cron.state.slot)
    return message
