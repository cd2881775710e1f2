"""PreviewSchedule: coming slots of a job's schedule, or of an expression that no job has yet."""

from __future__ import annotations

from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from ostinato.auth.call_access import CallAccess
from ostinato.jobflow.timetables import cached_timetable, make_timetable
from ostinato.jobstore.job_store import JobKey
from ostinato.jobstore.schedule_terms_codec import terms_of
from ostinato.pb.scheduler.v1.jobs_pb2 import PreviewScheduleRequest, PreviewScheduleResponse
from ostinato.pb.scheduler.v1.project_config_pb2 import JobConfig
from ostinato.scheduling.schedule import FoldPolicy, GapPolicy, ScheduleTerms, Timetable
from ostinato.scheduling.schedule.slot_preview import NoteKind, SlotNote, preview_slots
from ostinato.scheduling.validate_schedule import validate_schedule
from ostinato.zones import load_zone
from ostinato_api.api_resources import ApiResources
from ostinato_api.job_access import get_job_view
from ostinato_api.request_checks import RequestChecks

_KINDS = {kind: PreviewScheduleResponse.Note.Kind.Value(kind.name) for kind in NoteKind}


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
    terms = _read_terms(checks, request, of_job=source == "job")
    if source == "schedule":
        checks.refuse_all(validate_schedule(request.schedule, terms, "", None, load_zone))
    checks.finish()
    if source == "schedule":
        access.is_needless()
        timetable = make_timetable(request.schedule, terms, None)
    else:
        timetable = await _timetable_of(api, access, key)
    preview = preview_slots(timetable, await _now(api) if start is None else start, end, limit)
    return PreviewScheduleResponse(
        slots=[_timestamp(slot) for slot in preview.slots], notes=[_note(note) for note in preview.notes]
    )


async def _timetable_of(api: ApiResources, access: CallAccess, key: JobKey) -> Timetable:
    """The job's own schedule, also while it is paused."""
    view = await get_job_view(api.db, access, key)
    config = JobConfig.FromString(view.job.definition)
    return cached_timetable(config.schedule, terms_of(config), view.job.resource_name)


async def _now(api: ApiResources) -> datetime:
    async with api.db.transaction() as tx:
        return await tx.now()


def _read_terms(checks: RequestChecks, request: PreviewScheduleRequest, *, of_job: bool) -> ScheduleTerms:
    default = ScheduleTerms()
    given = {
        "time_zone": request.time_zone,
        "gap_policy": request.gap_policy,
        "fold_policy": request.fold_policy,
    }
    if of_job:
        for name in (name for name, value in given.items() if value):
            checks.refuse(name, "is for a schedule without a job: a job has its own")
        return default
    for name, policies in (("gap_policy", GapPolicy), ("fold_policy", FoldPolicy)):
        if given[name] and given[name] not in set(policies):
            checks.refuse(name, "is no known policy")
            return default
    return ScheduleTerms(
        time_zone=request.time_zone or default.time_zone,
        gap_policy=GapPolicy(request.gap_policy or default.gap_policy),
        fold_policy=FoldPolicy(request.fold_policy or default.fold_policy),
    )


def _note(note: SlotNote) -> PreviewScheduleResponse.Note:
    message = PreviewScheduleResponse.Note(kind=_KINDS[note.kind], text=note.text)
    message.time.FromDatetime(note.at)
    if note.until is not None:
        message.until_time.FromDatetime(note.until)
    return message


def _timestamp(at: datetime) -> Timestamp:
    timestamp = Timestamp()
    timestamp.FromDatetime(at)
    return timestamp
