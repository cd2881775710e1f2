"""The one door through which an invocation changes: state, log, triggers for others and the next triage in one commit.

What has ended stays as it is, and a change made from an outdated read is not applied: at most one finish of an
invocation is accepted. The job is never locked here, it gets a triage task instead (lock order: job before invocation).
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from google.protobuf.message import DecodeError

from ostinato.errors import InternalError
from ostinato.jobflow.emit_retries import Retry, emit_retries
from ostinato.jobflow.emit_triggers import Emission, emit_triggers
from ostinato.jobflow.invocation_timers import NewTimer, SetTimers, end_timers, set_timers
from ostinato.jobflow.kick_triage import kick_triage
from ostinato.jobstore.downstream_store import find_downstream_jobs
from ostinato.jobstore.invocation_log_store import LogEntry, LogLine, append_log_lines, cut_long_logs
from ostinato.jobstore.invocation_store import (
    ChangedInvocation,
    InvocationInput,
    InvocationUpdate,
    StoredInvocation,
    change_invocations,
    load_invocation_inputs,
)
from ostinato.jobstore.job_definition_codec import Aftermath, decode_aftermath
from ostinato.jobstore.timer_store import StoredTimer
from ostinato.pb.internal.v1.stored_pb2 import TriggerList
from ostinato.pb.scheduler.v1.triggers_pb2 import Trigger, UpstreamPayload
from ostinato.scheduling.downstream import triggered_jobs
from ostinato.scheduling.invocation import InvocationStatus, is_final, may_move
from ostinato.scheduling.invocation_id import InvocationId
from ostinato.scheduling.job_definition import RetryPolicy
from ostinato.scheduling.names import invocation_name, parse_job_name
from ostinato.scheduling.retrying import decide_retry, next_attempt, retry_jitter
from ostinato.scheduling.trigger import MAX_WAITING, upstream_trigger_id
from ostinato.storage.transaction import Tx
from ostinato.taskqueue import Dispatcher
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
class _Plan:
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


@dataclass(frozen=True, slots=True)
class _Followed:
    """What the log says of what followed: downstream jobs that don't exist, names of runs that their jobs have no room
    to retry, timers that were set and dropped.
    """

    missing: Collection[tuple[str, str]]
    unretried: Collection[str]
    set_timers: Sequence[StoredTimer]
    dropped_timers: Sequence[StoredTimer]


async def apply_changes(
    tx: Tx, dispatcher: Dispatcher, changes: Sequence[InvocationChange]
) -> dict[InvocationId, ChangedInvocation]:
    """Applies what still is as it was read; at most one change per invocation. Returns those that were applied.

    For the others the caller finds out by a fresh read whether they ended or only changed.
    """
    if not changes:
        return {}
    plans = {plan.change.invocation.id: plan for plan in await _make_plans(tx, changes)}
    applied = {row.id: row for row in await change_invocations(tx, [_update_of(plan) for plan in plans.values()])}
    done = [plans[invocation_id] for invocation_id in applied]
    missing = await _emit(tx, dispatcher, done)
    refused = await emit_retries(tx, [retry for plan in done if (retry := _retry(plan, applied)) is not None])
    timers_set = await set_timers(tx, dispatcher, [_timers_of(plan, applied) for plan in done if plan.change.timers])
    timers_dropped = await end_timers(tx, [plan.change.invocation.id for plan in done if plan.may_leave_timers])
    followed = _Followed(missing, {retry.invocation for retry in refused}, timers_set, timers_dropped)
    await _write_log(tx, done, applied, followed)
    ended = [row for row in applied.values() if plans[row.id].ends]
    traces = {row.job_id: trace for row in ended if (trace := plans[row.id].change.traceparent)}
    await kick_triage(tx, dispatcher, ((row.job_id, row.project_id) for row in ended), traces)
    return applied


async def _make_plans(tx: Tx, changes: Sequence[InvocationChange]) -> list[_Plan]:
    inputs = await _load_missing_inputs(tx, changes)
    for change in changes:
        _check_move(change)
    plans = [_plan_of(change, inputs) for change in changes]
    if not any(plan.triggers for plan in plans):
        return plans
    now = await tx.now()
    return [replace(plan, triggers=_stamped(plan, now)) for plan in plans]


async def _load_missing_inputs(tx: Tx, changes: Sequence[InvocationChange]) -> Mapping[InvocationId, InvocationInput]:
    known = {change.invocation.id: change.input for change in changes if change.input is not None}
    unknown = [
        change.invocation.id for change in changes if is_final(change.to_status) and change.invocation.id not in known
    ]
    return known | await load_invocation_inputs(tx, unknown) if unknown else known


def _check_move(change: InvocationChange) -> None:
    before, after = change.invocation.status, change.to_status
    if not may_move(before, after):
        raise InternalError(f"an invocation can't go from {before.name} to {after.name}")
    if change.timers and after is not InvocationStatus.RUNNING:
        raise InternalError(f"an invocation that becomes {after.name} has no timers")


def _plan_of(change: InvocationChange, inputs: Mapping[InvocationId, InvocationInput]) -> _Plan:
    if not is_final(change.to_status):
        return _Plan(change, (), ())
    given = inputs[change.invocation.id]
    project, _ = parse_job_name(given.job_name)
    follows = _aftermath_of(given)
    jobs = triggered_jobs(follows.downstream, change.to_status)
    name = invocation_name(given.job_name, change.invocation.id)
    return _Plan(
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
    except (DecodeError, KeyError) as error:
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


def _timers_of(plan: _Plan, applied: Mapping[InvocationId, ChangedInvocation]) -> SetTimers:
    return SetTimers(applied[plan.change.invocation.id], plan.change.timers, plan.change.traceparent)


def _retry(plan: _Plan, applied: Mapping[InvocationId, ChangedInvocation]) -> Retry | None:
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


def _stamped(plan: _Plan, now: datetime) -> list[Trigger]:
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


def _update_of(plan: _Plan) -> InvocationUpdate:
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


async def _emit(tx: Tx, dispatcher: Dispatcher, plans: Sequence[_Plan]) -> set[tuple[str, str]]:
    """Gives the triggers to the downstream jobs; returns the jobs that don't exist (any more)."""
    wanted = {receiver for plan in plans if plan.triggers for receiver in plan.receivers}
    if not wanted:
        return set()
    found = await find_downstream_jobs(tx, wanted)
    emissions = [
        Emission(found[receiver].job_id, found[receiver].project_id, trigger)
        for plan in plans
        for receiver in plan.receivers
        if receiver in found
        for trigger in plan.triggers
    ]
    await emit_triggers(tx, dispatcher, emissions)
    return wanted - found.keys()


async def _write_log(
    tx: Tx,
    plans: Sequence[_Plan],
    applied: Mapping[InvocationId, ChangedInvocation],
    followed: _Followed,
) -> None:
    entries = [_log_entry(plan, applied[plan.change.invocation.id], followed) for plan in plans]
    await append_log_lines(tx, entries)
    # What was said beyond the change's own lines is not counted in the row, which nobody writes again.
    beyond = [entry.lines[len(plan.change.log_lines) :] for entry, plan in zip(entries, plans, strict=True)]
    told = {entry.invocation_id: sum(line.size for line in lines) for entry, lines in zip(entries, beyond, strict=True)}
    await cut_long_logs(tx, {row.id: row.log_bytes + told[row.id] for row in applied.values()})


def _log_entry(plan: _Plan, row: ChangedInvocation, followed: _Followed) -> LogEntry:
    told = [f"Job {job} does not exist, so it is not triggered" for job in _absent(plan, followed.missing)]
    told += [f"Timer set: {timer.title}" for timer in followed.set_timers if timer.invocation_id == row.id]
    told += [f"Timer dropped: {timer.title}" for timer in followed.dropped_timers if timer.invocation_id == row.id]
    if plan.ends:
        told.append(_last_words(plan.change.to_status, row))
    if plan.retry_after is not None:
        told.append(_about_retry(plan, plan.retry_after, refused=plan.name in followed.unretried))
    return LogEntry(row.id, row.version, [*plan.change.log_lines, *(LogLine(row.changed_at, text) for text in told)])


def _about_retry(plan: _Plan, after: timedelta, *, refused: bool) -> str:
    if refused:
        _log.warning("%s is not tried again: %d retries of its job wait already", plan.name, MAX_WAITING)
        return f"It is not tried again: {MAX_WAITING} retries of the job wait already"
    attempt = next_attempt(plan.change.invocation.attempt)
    return f"Attempt {attempt} of {plan.max_attempts} follows in {after.total_seconds():.3f} s at the earliest"


def _absent(plan: _Plan, missing: Collection[tuple[str, str]]) -> Iterable[str]:
    return (job for project, job in plan.receivers if (project, job) in missing)


def _last_words(status: InvocationStatus, row: ChangedInvocation) -> str:
    if row.started_at is None:
        return f"Ended with status {status.name} before it was launched"
    seconds = (row.changed_at - row.started_at).total_seconds()
    return f"Ended with status {status.name} after {seconds:.3f} s"
