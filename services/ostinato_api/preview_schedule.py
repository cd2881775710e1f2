"""PreviewSchedule: coming slots of a job's schedule, or of an expression that no job has yet."""

from __future__ import annotations

from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from ostinato.auth.call_access import CallAccess
from ostinato.jobstore.job_store import JobKey
from ostinato.pb.scheduler.v1.jobs_pb2 import PreviewScheduleRequest, PreviewScheduleResponse
from ostinato.pb.scheduler.v1.project_config_pb2 import JobConfig
from ostinato.scheduling.schedule import Schedule, ScheduleError, parse_schedule
from ostinato_api.api_resources import ApiResources
from ostinato_api.job_access import get_job_view
from ostinato_api.request_checks import RequestChecks


async def preview_schedule(
    api: ApiResources, access: CallAccess, request: PreviewScheduleRequest
) -> PreviewScheduleResponse:
    checks = RequestChecks()
    limit = checks.limit(request.limit, "limit")
    start, end = checks.instant(request, "start_time"), checks.instant(request, "end_time")
    if start is not None and end is not None and end < start:
        checks.refuse("end_time", "must not lie before start_time")
    source = request.WhichOneof("source")
    if source is None:
        checks.refuse("schedule", "must be given, or a job")
    key = checks.job(request.job, "job") if source == "job" else ("", "")
    given = _read_schedule(checks, request.schedule) if source == "schedule" else None
    checks.finish()
    schedule = await _schedule_of(api, access, key) if given is None else given
    if given is not None:
        access.is_needless()
    slots = coming_slots(schedule, await _now(api) if start is None else start, end, limit)
    return PreviewScheduleResponse(slots=[_timestamp(slot) for slot in slots])


async def _schedule_of(api: ApiResources, access: CallAccess, key: JobKey) -> Schedule:
    """The job's own schedule, also while it is paused."""
    view = await get_job_view(api.db, access, key)
    return parse_schedule(JobConfig.FromString(view.job.definition).schedule)


async def _now(api: ApiResources) -> datetime:
    async with api.db.transaction() as tx:
        return await tx.now()


def coming_slots(schedule: Schedule, after: datetime, end: datetime | None, limit: int) -> list[datetime]:
    """Strictly after `after` and not after `end`. Of a relative schedule only the next start can be foretold."""
    slots: list[datetime] = []
    slot = schedule.next_after(after)
    while slot is not None and (end is None or slot <= end) and len(slots) < limit:
        slots.append(slot)
        slot = schedule.next_after(slot) if schedule.is_absolute else None
    return slots


def _read_schedule(checks: RequestChecks, text: str) -> Schedule | None:
    try:
        return parse_schedule(text)
    except ScheduleError as error:
        checks.refuse("schedule", str(error))
        return None


def _timestamp(at: datetime) -> Timestamp:
    timestamp = Timestamp()
    timestamp.FromDatetime(at)
    return timestamp
