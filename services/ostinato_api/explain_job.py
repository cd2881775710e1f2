"""ExplainJob: why a job is not running now, or what became of one instant, and what its last triages decided."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.message import DecodeError

from ostinato.auth.call_access import CallAccess
from ostinato.auth.permissions import Access
from ostinato.errors import InvalidArgument
from ostinato.jobflow.timetables import find_timetable
from ostinato.jobstore.explain_store import (
    Namesake,
    StoredRecord,
    find_jobs_mentioning,
    find_outcome,
    has_pending_slot,
    load_triage_records,
    load_waiting,
)
from ostinato.jobstore.invocation_listing_store import (
    ListedInvocation,
    find_ended_invocation,
    list_active_invocations,
)
from ostinato.jobstore.job_cron_store import find_cron
from ostinato.jobstore.job_definition_codec import decode_definition
from ostinato.jobstore.job_listing_store import JobView
from ostinato.jobstore.job_store import JobRow
from ostinato.jobstore.rejected_report_store import load_rejected_reports
from ostinato.jobstore.schedule_span_store import ScheduleSpan, load_spans
from ostinato.pb.scheduler.v1.jobs_pb2 import ExplainJobRequest, ExplainJobResponse, TriageRecord
from ostinato.pb.scheduler.v1.jobs_pb2 import Finding as FindingMessage
from ostinato.scheduling.explaining import Drop, JobSituation, KnownRun, RejectedReports, Upstream, explain_now
from ostinato.scheduling.explaining_slots import SlotSituation, explain_slot
from ostinato.scheduling.finding import Cause, Finding
from ostinato.scheduling.invocation import is_final
from ostinato.scheduling.invocation_id import InvocationId
from ostinato.scheduling.job_definition import JobDefinition
from ostinato.scheduling.names import invocation_name, short_name
from ostinato.scheduling.schedule import Timetable
from ostinato.scheduling.triage_plan import DROPS, ReasonCode
from ostinato.scheduling.trigger import MAX_WAITING
from ostinato.storage.transaction import Tx
from ostinato.taskqueue import administration
from ostinato_api.api_resources import ApiResources
from ostinato_api.job_access import get_job_view
from ostinato_api.next_run import never_matches, next_run_time
from ostinato_api.project_config.bindings import policy_of
from ostinato_api.proto_time import set_time
from ostinato_api.request_checks import MAX_PAGE, RequestChecks

_QUEUES = ("launches", "notifications", "timers", "triages")  # that a run passes
_MOST_UPSTREAMS = 100
_SECOND = timedelta(seconds=1)


async def explain_job(api: ApiResources, access: CallAccess, request: ExplainJobRequest) -> ExplainJobResponse:
    checks = RequestChecks()
    key = checks.job(request.name)
    limit = checks.limit(request.limit, "limit")
    at = checks.instant(request, "at")
    if at is not None and at.microsecond:
        checks.refuse("at", "must be a whole second, as slots are")
    checks.finish()
    async with api.db.transaction() as tx:
        await tx.read_one_snapshot()  # what ends and what begins between two reads would be in neither
        view = await get_job_view(tx, access, key)
        records = [_record(stored) for stored in await load_triage_records(tx, view.job.job_id, limit=limit)]
        findings = await _explain(tx, _Asked(api, access, view, records), at)
    return ExplainJobResponse(findings=map(_finding_message, findings), records=records)


@dataclass(frozen=True, slots=True)
class _Asked:
    """About which job, by whom; with the records that go into the answer."""

    api: ApiResources
    access: CallAccess
    view: JobView
    records: Sequence[TriageRecord]


async def _explain(tx: Tx, asked: _Asked, at: datetime | None) -> list[Finding]:
    if at is None:
        return explain_now(await _situation(tx, asked))
    slot = await _slot_situation(tx, asked.view.job, at)
    finding = explain_slot(slot)
    if finding.cause is not Cause.STILL_WAITING:
        return [finding]
    return [finding, *explain_now(await _situation(tx, asked))]


async def _situation(tx: Tx, asked: _Asked) -> JobSituation:
    view, records, job = asked.view, asked.records, asked.view.job
    definition, problem = _definition(job)
    cron = await find_cron(tx, job.job_id)
    next_due_at = next_run_time(view)
    failed = next((record for record in records[:1] if record.error and not record.HasField("saw")), None)
    in_database = asked.api.queue.remote is None
    running = await _running(tx, job)
    return JobSituation(
        now=await tx.now(),
        enabled=job.enabled,
        schedule=definition.schedule,
        max_concurrent=definition.policy.max_concurrent_invocations,
        revision=job.revision,
        changed_at=job.updated_at,
        paused=job.paused,
        paused_by=job.paused_by,
        paused_at=job.paused_at,
        pause_reason=job.pause_reason,
        problem=problem,
        next_due_at=next_due_at,
        counts_from_end_of_run=cron is not None and cron.state.waits_for_rewind,
        end_before=definition.terms.end_before,
        never_matches=never_matches(view),
        is_blacked_out=view.slot is not None and next_due_at is None,
        interval_until=_interval_until(records),
        running=[_known(job, run) for run in running],
        running_count=view.active_invocations,
        rejected=await _rejected(tx, job, [run.id for run in running]),
        waiting=await load_waiting(tx, job.job_id, most=MAX_WAITING),
        paused_queues=await administration.paused_queues(tx, _QUEUES),
        live_engines=await administration.count_live_workers(tx) if in_database else None,
        triage_error="" if failed is None else failed.error,
        triage_error_at=None if failed is None else _time(failed),
        last_status=job.last_status,
        last_error=job.last_error,
        last_completed_at=job.last_completed_at,
        last_success_at=job.last_success_at,
        rejected_of_last=await _rejected(tx, job, await _last_if_bad(tx, job)),
        upstreams=await _upstreams(tx, asked.access, view) if definition.schedule == "triggered" else (),
        drops=_drops(records),
    )


def _interval_until(records: Sequence[TriageRecord]) -> datetime | None:
    for record in records[:1]:
        if record.HasField("next_wake_time") and any(
            each.reason == ReasonCode.MIN_INTERVAL for each in record.decisions
        ):
            return record.next_wake_time.ToDatetime(tzinfo=UTC)
    return None


def _definition(job: JobRow) -> tuple[JobDefinition, str]:
    """With the problem if it can't be read."""
    try:
        return decode_definition(job.definition), ""
    except (DecodeError, InvalidArgument) as error:
        return JobDefinition(job.name), f"the stored definition can't be read: {error}"


async def _running(tx: Tx, job: JobRow) -> list[ListedInvocation]:
    found = await list_active_invocations(tx, job.job_id, limit=MAX_PAGE)
    return [run for run in reversed(found) if not is_final(run.status)]


def _known(job: JobRow, run: ListedInvocation) -> KnownRun:
    name = _run_name(job, run.id)
    return KnownRun(name, run.status, run.started_at or run.created_at, run.launch_attempts, run.error_message)


def _run_name(job: JobRow, run: InvocationId) -> str:
    return short_name(invocation_name(job.resource_name, run))


async def _last_if_bad(tx: Tx, job: JobRow) -> list[InvocationId]:
    """The run that ended last, aborted ones too, unless it succeeded or is long gone."""
    if job.last_completed_at is None or job.last_completed_at == job.last_success_at:
        return []
    found = await find_ended_invocation(tx, job.job_id, job.last_completed_at)
    return [] if found is None else [found]


async def _rejected(tx: Tx, job: JobRow, runs: Sequence[InvocationId]) -> list[RejectedReports]:
    return [
        RejectedReports(
            run=_run_name(job, each.invocation_id),
            fault=each.fault.name,
            count=each.count,
            first_at=each.first_at,
            last_at=each.last_at,
        )
        for each in await load_rejected_reports(tx, runs)
    ]


async def _upstreams(tx: Tx, access: CallAccess, view: JobView) -> list[Upstream]:
    """Those that the caller may see."""
    policy, job = policy_of(view.bindings), view.job
    candidates = await find_jobs_mentioning(tx, job.project, job.name, limit=_MOST_UPSTREAMS)
    visible = [each for each in candidates if access.access_to_job(policy, each.realm) is Access.ALLOWED]
    return [upstream for each in visible for upstream in _as_upstreams(each, job.name)]


def _as_upstreams(candidate: Namesake, name: str) -> list[Upstream]:
    """Empty if its definition mentions the name elsewhere, or can't be read."""
    try:
        definition = decode_definition(candidate.definition)
    except (DecodeError, InvalidArgument):
        return []  # explained where that job is asked about
    return [
        Upstream(
            name=f"{candidate.project}/{candidate.name}",
            on=entry.trigger_on.value,
            enabled=candidate.enabled,
            paused=candidate.paused,
            last_success_at=candidate.last_success_at,
            last_completed_at=candidate.last_completed_at,
        )
        for entry in definition.downstream
        if entry.job == name
    ]


def _drops(records: Sequence[TriageRecord]) -> list[Drop]:
    return [
        Drop(_time(record), decision.reason, decision.count)
        for record in records
        for decision in record.decisions
        if decision.reason in DROPS
    ]


async def _slot_situation(tx: Tx, job: JobRow, at: datetime) -> SlotSituation:
    span = _in_force(await load_spans(tx, job.job_id), at)
    next_slot = _next_slot(span, at, job.resource_name)
    is_slot = next_slot == at
    found = await find_outcome(tx, job.job_id, at)
    if found is not None and found.slot != at and not (is_slot and found.until_slot and at < found.until_slot):
        found = None
    cron = await find_cron(tx, job.job_id)
    now = await tx.now()
    next_slot_to_fire = None if cron is None else cron.state.slot
    # Slots fire in their order, and each may wait for its offset.
    planned = next_slot_to_fire is not None and (next_slot_to_fire == at or next_slot_to_fire < at <= now)
    run = None if found is None else found.invocation_id
    return SlotSituation(
        now=now,
        at=at,
        in_force=span is not None,
        schedule="" if span is None else span.schedule,
        since=None if span is None else span.from_at,
        paused=span is not None and span.paused,
        enabled=span is not None and span.enabled,
        is_slot=is_slot,
        in_blackout=is_slot and _in_blackout(span, at, job.resource_name),
        next_slot=next_slot,
        outcome=None if found is None else found.outcome,
        reason="" if found is None else found.reason,
        run="" if run is None else _run_name(job, InvocationId(run)),
        decided_at=None if found is None else found.decided_at,
        waits=planned or await has_pending_slot(tx, job.job_id, at),
    )


def _in_force(spans: Sequence[ScheduleSpan], at: datetime) -> ScheduleSpan | None:
    """The edit of an instant is in force from then on."""
    return next((span for span in reversed(spans) if span.from_at <= at), None)


def _timetable(span: ScheduleSpan, name: str) -> Timetable | None:
    """None for what has no slots, and for what another release stored that nobody here reads."""
    timetable = find_timetable(span.schedule, span.terms, name)
    return timetable if timetable is not None and timetable.is_absolute else None


def _next_slot(span: ScheduleSpan | None, at: datetime, name: str) -> datetime | None:
    """The first slot not before `at`."""
    timetable = _timetable(span, name) if span is not None and span.enabled else None
    return None if timetable is None else timetable.next_after(at - _SECOND)


def _in_blackout(span: ScheduleSpan | None, at: datetime, name: str) -> bool:
    timetable = None if span is None else _timetable(span, name)
    return timetable is not None and timetable.periods.end_of(at) is not None


def _record(stored: StoredRecord) -> TriageRecord:
    """What a later release wrote may say more: what is known of it is shown."""
    record = TriageRecord()
    set_time(record.time, stored.at)
    try:
        ParseDict(json.loads(stored.record), record, ignore_unknown_fields=True)
    except ParseError as error:
        record.error = f"this record can't be read: {error}"
    return record


def _time(record: TriageRecord) -> datetime:
    return record.time.ToDatetime(tzinfo=UTC)


def _finding_message(finding: Finding) -> FindingMessage:
    message = FindingMessage(code=finding.cause.value, text=finding.text)
    set_time(message.since, finding.since)
    return message
