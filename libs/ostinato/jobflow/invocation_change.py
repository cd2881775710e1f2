"""A change of an invocation, and what goes with it: triggers for downstream jobs, the next attempt, timers."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from google.protobuf.message import DecodeError

from ostinato.errors import InternalError
from ostinato.jobflow.emit_retries import Retry
from ostinato.jobflow.invocation_timers import NewTimer
from ostinato.jobstore.invocation_log_store import LogLine
from ostinato.jobstore.invocation_store import ChangedInvocation, InvocationInput, InvocationUpdate, StoredInvocation
from ostinato.jobstore.job_definition_codec import Aftermath, decode_aftermath
from ostinato.pb.internal.v1.stored_pb2 import TriggerList
from ostinato.pb.scheduler.v1.triggers_pb2 import Trigger, UpstreamPayload
from ostinato.scheduling.downstream import triggered_jobs
from ostinato.scheduling.invocation import InvocationStatus, is_final, may_move
from ostinato.scheduling.invocation_id import InvocationId
from ostinato.scheduling.job_definition import RetryPolicy
from ostinato.scheduling.names import invocation_name, parse_job_name
from ostinato.scheduling.retrying import decide_retry, next_attempt, retry_jitter
from ostinato.scheduling.trigger import upstream_trigger_id
from ostinato.telemetry.tracing import current_traceparent

EMITTED_BY = "engine"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RunError:
    """Why a run failed, was aborted or is tried again. `reason` is an UPPER_SNAKE code."""

    reason: str
    message: str
    retryable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class InvocationChange:
    """What happens to an invocation that was read as `invocation`. None keeps what is stored."""

    invocation: StoredInvocation
    to_status: InvocationStatus
    begins_attempt: bool = False
    error: RunError | None = None
    view_url: str | None = None
    result: bytes | None = None
    log_lines: Sequence[LogLine] = ()
    triggers: Sequence[Trigger] = ()  # emitted by the target, for the downstream jobs
    timers: Sequence[NewTimer] = ()  # to set; only of what goes on RUNNING
    input: InvocationInput | None = None  # where the caller has it already
    traceparent: str | None = None  # the trace of what follows; None: the current one, if any


@dataclass(frozen=True, slots=True)
class ChangePlan:
    """A change and what goes with it if it is applied."""

    change: InvocationChange
    triggers: Sequence[Trigger]
    receivers: Sequence[tuple[str, str]]  # (project, job)
    name: str = ""  # of what ends
    retry_after: timedelta | None = None
    max_attempts: int = 1

    @property
    def ends(self) -> bool:
        return is_final(self.change.to_status)

    @property
    def may_leave_timers(self) -> bool:
        return self.ends and self.change.invocation.status is InvocationStatus.RUNNING


def check_move(change: InvocationChange) -> None:
    before, after = change.invocation.status, change.to_status
    if not may_move(before, after):
        raise InternalError(f"an invocation can't go from {before.name} to {after.name}")
    if change.timers and after is not InvocationStatus.RUNNING:
        raise InternalError(f"an invocation that becomes {after.name} has no timers")


def plan_change(change: InvocationChange, inputs: Mapping[InvocationId, InvocationInput]) -> ChangePlan:
    if not is_final(change.to_status):
        return ChangePlan(change, (), ())
    given = inputs[change.invocation.id]
    project, _ = parse_job_name(given.job_name)
    follows = _aftermath_of(given)
    jobs = triggered_jobs(follows.downstream, change.to_status)
    name = invocation_name(given.job_name, change.invocation.id)
    return ChangePlan(
        change,
        [*change.triggers, _upstream_trigger(name, change.to_status)] if jobs else change.triggers,
        [(project, job) for job in jobs],
        name,
        _retry_after(change, follows.retry),
        follows.retry.max_attempts,
    )


def _aftermath_of(given: InvocationInput) -> Aftermath:
    """Nothing follows from a definition that can't be read: that must not keep the run from ending."""
    try:
        return decode_aftermath(given.definition)
    except DecodeError as error:
        _log.error("nothing follows a run of %s, its definition can't be read: %s", given.job_name, error)
        return Aftermath((), RetryPolicy())


def _retry_after(change: InvocationChange, policy: RetryPolicy) -> timedelta | None:
    return decide_retry(
        change.to_status,
        change.invocation.attempt,
        policy,
        error_retryable=change.error is not None and change.error.retryable,
        jitter=retry_jitter(change.invocation.id),
    )


def retry_of(plan: ChangePlan, applied: Mapping[InvocationId, ChangedInvocation]) -> Retry | None:
    if plan.retry_after is None:
        return None
    run = plan.change.invocation
    ended_at = applied[run.id].changed_at
    return Retry(
        job_id=run.job_id,
        invocation=plan.name,
        attempt=next_attempt(run.attempt),
        created_at=ended_at,
        not_before=ended_at + plan.retry_after,
        emitted_by=EMITTED_BY,
        traceparent=plan.change.traceparent or current_traceparent() or "",
    )


def _upstream_trigger(name: str, status: InvocationStatus) -> Trigger:
    return Trigger(
        id=upstream_trigger_id(name),
        title=f"{name} ended: {status.name}",
        upstream=UpstreamPayload(invocation=name, status=status.name),
    )


def stamped(plan: ChangePlan, now: datetime) -> list[Trigger]:
    stamped = []
    traceparent = plan.change.traceparent or current_traceparent() or ""
    for order, trigger in enumerate(plan.triggers):
        copy = Trigger()
        copy.CopyFrom(trigger)
        copy.create_time.FromDatetime(now)
        copy.order_in_batch = order
        copy.emitted_by = EMITTED_BY
        copy.traceparent = traceparent
        stamped.append(copy)
    return stamped


def update_of(plan: ChangePlan) -> InvocationUpdate:
    change = plan.change
    error = change.error or RunError("", "")
    return InvocationUpdate(
        invocation_id=change.invocation.id,
        expected_version=change.invocation.version,
        status=change.to_status,
        ends=plan.ends,
        launches=int(change.begins_attempt),
        error_reason=error.reason,
        error_message=error.message,
        error_retryable=error.retryable,
        view_url=change.view_url,
        result=change.result,
        outgoing=TriggerList(triggers=plan.triggers).SerializeToString() if plan.triggers else None,
        log_bytes=sum(line.size for line in change.log_lines),
    )
