"""Jobs as people read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from ostinato.cli.formatting import format_duration, short_name, time_of
from ostinato.cli.tables import Column, note, print_record, print_table
from ostinato.pb.scheduler.v1.jobs_pb2 import (
    CatchUp,
    Downstream,
    HttpTarget,
    Job,
    NoopTarget,
    RetryPolicy,
    TriggeringPolicy,
)

_COLUMNS = (
    Column("JOB"),
    Column("STATE"),
    Column("SCHEDULE", shrinks_to=12),
    Column("NEXT RUN"),
    Column("LAST"),
    Column("ACTIVE", right=True),
)

_USUAL_PENDING = 1000


def print_jobs(jobs: Sequence[Job]) -> None:
    if not jobs:
        note("There are no jobs.")
        return
    print_table(_COLUMNS, [_row(job) for job in jobs])


def _row(job: Job) -> list[str]:
    return [
        short_name(job.name),
        Job.State.Name(job.state),
        job.schedule,
        time_of(job, "next_run_time"),
        job.last_status,
        str(job.active_invocations or ""),
    ]


def print_job(job: Job) -> None:
    print_record(
        [
            ("job", short_name(job.name)),
            ("title", job.display_name),
            ("state", Job.State.Name(job.state)),
            ("paused", _pause(job)),
            ("schedule", job.schedule),
            ("time zone", _time_zone(job)),
            ("offset", _duration(job, "offset")),
            ("jitter", _duration(job, "jitter")),
            ("slots after", time_of(job, "start_after")),
            ("slots before", time_of(job, "end_before")),
            ("blackouts", _blackouts(job)),
            ("catch-up", _catch_up(job.catch_up)),
            ("start deadline", _duration(job, "start_deadline")),
            ("next run", time_of(job, "next_run_time")),
            ("target", _target(job)),
            ("timeout", _duration(job, "timeout")),
            ("heartbeat timeout", _duration(job, "heartbeat_timeout")),
            ("retries", _retries(job.retry)),
            ("triggering", _policy(job.triggering_policy)),
            ("waiting", _intake(job)),
            ("triggers", ", ".join(map(_downstream, job.downstream))),
            ("active runs", str(job.active_invocations)),
            ("last status", job.last_status),
            ("last error", job.last_error),
            ("last scheduled", time_of(job, "last_scheduled_time")),
            ("last completed", time_of(job, "last_completed_time")),
            ("last success", time_of(job, "last_success_time")),
            ("last failure", time_of(job, "last_failure_time")),
            ("owner", job.owner),
            ("realm", job.realm),
            ("labels", _pairs(job.labels)),
            ("annotations", _pairs(job.annotations)),
            ("revision", " ".join(filter(None, (job.revision, job.revision_url)))),
            ("updated", time_of(job, "update_time")),
        ]
    )


def _duration(job: Job, field: Literal["timeout", "heartbeat_timeout", "offset", "jitter", "start_deadline"]) -> str:
    return format_duration(getattr(job, field).ToTimedelta()) if job.HasField(field) else ""


def _time_zone(job: Job) -> str:
    """With the policies that are not the usual ones."""
    told = [job.time_zone]
    if job.gap_policy == Job.SKIP:
        told.append("gap SKIP")
    if job.fold_policy in (Job.LAST, Job.BOTH):
        told.append(f"fold {Job.FoldPolicy.Name(job.fold_policy)}")
    return ", ".join(filter(None, told))


def _blackouts(job: Job) -> str:
    """Calendars by their names, others by their number."""
    calendars = sorted({blackout.calendar for blackout in job.blackouts if blackout.calendar})
    own = sum(not blackout.calendar for blackout in job.blackouts)
    return ", ".join([*calendars, *([f"{own} of its own"] if own else [])])


def _catch_up(catch_up: CatchUp) -> str:
    """Empty for the usual."""
    window = format_duration(catch_up.window.ToTimedelta())
    match catch_up.policy:
        case CatchUp.LATEST:
            return f"LATEST within {window}"
        case CatchUp.ALL:
            return f"ALL within {window}, at most {catch_up.limit}"
        case _:
            return ""


def _pause(job: Job) -> str:
    if not job.paused:
        return ""
    parts = [f"since {time_of(job, 'pause_time')}", job.paused_by and f"by {job.paused_by}", job.pause_reason]
    return ", ".join(filter(None, parts))


def _target(job: Job) -> str:
    match job.WhichOneof("target"):
        case "http":
            return _http(job.http)
        case "noop":
            return _noop(job.noop)
        case kind:
            return kind or ""


def _http(target: HttpTarget) -> str:
    ending = ", ends by a notification" if target.multistage else ""
    return f"{target.method} {target.url}{ending}"


def _noop(target: NoopTarget) -> str:
    parts = ["nothing"]
    if target.HasField("sleep"):
        parts.append(f"sleeps {format_duration(target.sleep.ToTimedelta())}")
    if target.triggers_count:
        parts.append(f"emits {target.triggers_count} triggers")
    return ", ".join(parts)


def _policy(policy: TriggeringPolicy) -> str:
    kind = TriggeringPolicy.Kind.Name(policy.kind)
    parts = [kind, f"{policy.max_concurrent_invocations} at once"]
    if policy.kind == TriggeringPolicy.NEWEST_FIRST:
        parts.append(f"what waited for {format_duration(policy.pending_timeout.ToTimedelta())} is discarded")
    else:
        parts.append(f"up to {policy.max_batch_size} triggers each")
    if policy.kind == TriggeringPolicy.LOGARITHMIC_BATCHING:
        parts.append(f"base {policy.log_base:g}")
    return ", ".join(parts)


def _intake(job: Job) -> str:
    """Only what is not the usual."""
    parts = []
    if job.overflow == Job.REJECT:
        parts.append(f"calls that bring more than {job.max_pending_triggers} triggers are refused")
    elif job.max_pending_triggers not in (0, _USUAL_PENDING):
        parts.append(f"of more than {job.max_pending_triggers} triggers the oldest are dropped")
    if job.min_triage_interval.ToTimedelta():
        parts.append(f"something starts every {format_duration(job.min_triage_interval.ToTimedelta())} at most")
    return ", ".join(parts)


def _retries(retry: RetryPolicy) -> str:
    if retry.max_attempts <= 1:
        return ""
    least, most = format_duration(retry.min_backoff.ToTimedelta()), format_duration(retry.max_backoff.ToTimedelta())
    return f"up to {retry.max_attempts} attempts, {least} to {most} apart"


def _downstream(downstream: Downstream) -> str:
    return f"{downstream.job} on {Downstream.TriggerOn.Name(downstream.trigger_on)}"


def _pairs(pairs: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in sorted(pairs.items()))
