"""A job as the API shows it."""

from __future__ import annotations

from ostinato.jobstore.job_definition_codec import retry_to_proto
from ostinato.jobstore.job_listing_store import JobView
from ostinato.jobstore.schedule_terms_codec import catch_up_message
from ostinato.pb.scheduler.v1.jobs_pb2 import Job
from ostinato.pb.scheduler.v1.project_config_pb2 import JobConfig
from ostinato.scheduling.job_definition import Intake, RetryPolicy
from ostinato.scheduling.schedule import ScheduleTerms
from ostinato_api.next_run import next_run_time
from ostinato_api.proto_time import set_time

_DEFAULT_TERMS = ScheduleTerms()
_DEFAULT_CATCH_UP = catch_up_message(_DEFAULT_TERMS.catch_up)
_DEFAULT_RETRY = retry_to_proto(RetryPolicy())


def job_message(view: JobView) -> Job:
    job = view.job
    message = Job(
        name=job.resource_name,
        uid=str(job.uid),
        realm=job.realm,
        managed_by=Job.ManagedBy.ValueType(job.managed_by),
        state=job_state(view),
        paused=job.paused,
        pause_reason=job.pause_reason,
        paused_by=job.paused_by,
        active_invocations=view.active_invocations,
        last_status="" if job.last_status is None else job.last_status.name,
        last_error=job.last_error,
        revision=job.revision,
        revision_url=job.revision_url,
        etag=f'"{job.version}"',
    )
    _set_definition(message, JobConfig.FromString(job.definition))
    set_time(message.pause_time, job.paused_at)
    set_time(message.next_run_time, next_run_time(view))
    set_time(message.last_scheduled_time, job.last_scheduled_at)
    set_time(message.last_completed_time, job.last_completed_at)
    set_time(message.last_success_time, job.last_success_at)
    set_time(message.last_failure_time, job.last_failure_at)
    set_time(message.create_time, job.created_at)
    set_time(message.update_time, job.updated_at)
    return message


def job_state(view: JobView) -> Job.State.ValueType:
    """The first that fits (LUCI Scheduler): a paused job whose last run goes on is RUNNING."""
    if view.active_invocations:
        return Job.RUNNING
    if not view.job.enabled:
        return Job.DISABLED
    if view.job.paused:
        return Job.PAUSED
    return Job.WAITING if next_run_time(view) is None else Job.SCHEDULED


def _set_definition(message: Job, config: JobConfig) -> None:
    """What the stanza says, defaults filled in."""
    message.display_name = config.display_name
    message.labels.update(config.labels)
    message.annotations.update(config.annotations)
    message.owner = config.owner
    message.schedule = config.schedule
    message.time_zone = config.time_zone or _DEFAULT_TERMS.time_zone  # older ones have none of these
    message.gap_policy = config.gap_policy or Job.SHIFT
    message.fold_policy = config.fold_policy or Job.FIRST
    for field in ("offset", "jitter", "start_after", "end_before", "start_deadline"):
        if config.HasField(field):
            getattr(message, field).CopyFrom(getattr(config, field))
    message.blackouts.extend(config.blackouts)
    message.catch_up.CopyFrom(config.catch_up if config.HasField("catch_up") else _DEFAULT_CATCH_UP)
    message.triggering_policy.CopyFrom(config.triggering_policy)
    if config.HasField("http"):
        message.http.CopyFrom(config.http)
    else:
        message.noop.CopyFrom(config.noop)
    message.downstream.extend(config.downstream)
    message.timeout.CopyFrom(config.timeout)
    if config.HasField("heartbeat_timeout"):
        message.heartbeat_timeout.CopyFrom(config.heartbeat_timeout)
    message.max_pending_triggers = config.max_pending_triggers or Intake().max_pending  # older ones have none
    message.overflow = config.overflow or Job.DROP_OLDEST
    message.min_triage_interval.CopyFrom(config.min_triage_interval)
    message.retry.CopyFrom(config.retry if config.HasField("retry") else _DEFAULT_RETRY)  # older ones have none
