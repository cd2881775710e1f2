"""VerifyJob: whether each slot of a job has exactly one outcome, from one snapshot of its schedules and its ledger."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from ostinato.auth.call_access import CallAccess
from ostinato.errors import InvalidArgument, Violation
from ostinato.jobflow.timetables import find_timetable
from ostinato.jobstore.explain_store import StoredOutcome, load_outcomes, load_pending_slots
from ostinato.jobstore.job_cron_store import find_cron
from ostinato.jobstore.job_store import JobRow
from ostinato.jobstore.schedule_span_store import ScheduleSpan, load_spans
from ostinato.pb.scheduler.v1.jobs_pb2 import VerifyJobRequest, VerifyJobResponse
from ostinato.scheduling.names import invocation_name, short_name
from ostinato.scheduling.slot_history import DISTANT_PAST, InForce, Recorded, SlotHistory, Window
from ostinato.scheduling.verifying import Fault, SlotFault, Verification, verify_slots
from ostinato.storage.transaction import Tx
from ostinato_api.api_resources import ApiResources
from ostinato_api.job_access import get_job_view
from ostinato_api.proto_time import set_time
from ostinato_api.request_checks import RequestChecks

MAX_LATE_AFTER = timedelta(days=366)
_LATE_AFTER = timedelta(minutes=1)
_USUAL_WINDOW = timedelta(hours=24)
# Slots, and rows of the ledger, per call: some tenths of a second at worst.
_MOST = 10_000
_INSTANT = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class _Asked:
    """`start` and `end` as given; both are None by default."""

    start: datetime | None
    end: datetime | None
    late_after: timedelta


async def verify_job(api: ApiResources, access: CallAccess, request: VerifyJobRequest) -> VerifyJobResponse:
    checks = RequestChecks()
    key = checks.job(request.name)
    asked = _read(checks, request)
    checks.finish()
    async with api.db.transaction() as tx:
        await tx.read_one_snapshot()
        view = await get_job_view(tx, access, key)
        window = _window(asked, await tx.now())
        history, rest = await _load(tx, view.job, window)
    if rest is not None:
        window = replace(window, end=rest - _INSTANT)
    # Beside the loop, which has other calls to serve.
    found = await asyncio.to_thread(verify_slots, history, window, late_after=asked.late_after, most=_MOST)
    return _answer(window, found, rest if found.next_start is None else found.next_start)


def _read(checks: RequestChecks, request: VerifyJobRequest) -> _Asked:
    start, end = checks.instant(request, "start_time"), checks.instant(request, "end_time")
    if start is not None and end is not None and start > end:
        checks.refuse("end_time", "must not lie before start_time")
    late_after = _LATE_AFTER
    if request.HasField("late_after"):
        given = request.late_after
        if given.seconds < 0 or not 0 <= given.nanos < 1_000_000_000 or given.seconds > MAX_LATE_AFTER.total_seconds():
            checks.refuse("late_after", f"must be 0 to {MAX_LATE_AFTER.days} days")
        else:
            late_after = given.ToTimedelta()
    return _Asked(start, end, late_after)


def _window(asked: _Asked, now: datetime) -> Window:
    """Raises InvalidArgument."""
    end = now if asked.end is None else min(asked.end, now)
    if asked.start is not None and asked.start > now:
        raise InvalidArgument([Violation("start_time", "must not lie in the future")])
    start = max(end, DISTANT_PAST + _USUAL_WINDOW) - _USUAL_WINDOW if asked.start is None else asked.start
    start = max(start, DISTANT_PAST)
    return Window(start, max(start, end), now)


async def _load(tx: Tx, job: JobRow, window: Window) -> tuple[SlotHistory, datetime | None]:
    """And from where on it is not known, if there is more than one call looks at."""
    rows = await load_outcomes(tx, job.job_id, window.start, window.end, limit=_MOST + 1)
    rest = rows[-1].slot if sum(row.slot >= window.start for row in rows) > _MOST else None
    pending = await load_pending_slots(tx, job.job_id, window.start, window.end)
    cron = await find_cron(tx, job.job_id)
    in_force = None if cron is None else find_timetable(cron.schedule, cron.terms, cron.job_name)
    history = SlotHistory(
        spans=[_in_force(span, job.resource_name) for span in await load_spans(tx, job.job_id)],
        rows=[_recorded(job, row) for row in rows if rest is None or row.slot < rest],
        pending=[slot for slot in pending if rest is None or slot < rest],
        planned_slot=cron.state.slot if cron is not None and in_force is not None and in_force.is_absolute else None,
    )
    return history, rest


def _in_force(span: ScheduleSpan, name: str) -> InForce:
    timetable = find_timetable(span.schedule, span.terms, name)
    return InForce(span.from_at, span.schedule, timetable, span.paused, span.enabled)


def _recorded(job: JobRow, row: StoredOutcome) -> Recorded:
    run = "" if row.invocation_id is None else short_name(invocation_name(job.resource_name, row.invocation_id))
    return Recorded(row.slot, row.outcome, row.decided_at, row.until_slot, run)


def _answer(window: Window, found: Verification, next_start: datetime | None) -> VerifyJobResponse:
    answer = VerifyJobResponse(
        slots=found.slots,
        pending=found.pending,
        outcomes=[
            VerifyJobResponse.OutcomeCount(outcome=outcome.name, slots=count.slots, ranges=count.ranges)
            for outcome, count in found.outcomes.items()
        ],
        missing=found.counts[Fault.MISSING],
        duplicated=found.counts[Fault.DUPLICATED],
        late=found.counts[Fault.LATE],
        unexpected=found.counts[Fault.UNEXPECTED],
        faults=map(_fault, found.faults),
        notes=found.notes,
    )
    set_time(answer.start_time, window.start)
    set_time(answer.end_time, window.end if next_start is None else next_start - _INSTANT)
    set_time(answer.next_start_time, next_start)
    return answer


def _fault(found: SlotFault) -> VerifyJobResponse.Fault:
    kind = VerifyJobResponse.Fault.Kind.Value(found.fault.value)
    message = VerifyJobResponse.Fault(kind=kind, count=found.count, text=found.text)
    set_time(message.slot, found.slot)
    set_time(message.last_slot, found.last_slot)
    return message
