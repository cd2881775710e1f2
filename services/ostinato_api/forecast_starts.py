"""ForecastStarts: how many starts the schedules of a project bring, minute by minute, and where they crowd."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from google.protobuf.message import DecodeError

from ostinato.auth.call_access import CallAccess
from ostinato.errors import InvalidArgument
from ostinato.jobflow.timetables import cached_timetable
from ostinato.jobstore.job_listing_store import JobView, VisibleRealms, list_job_views
from ostinato.jobstore.schedule_terms_codec import terms_of
from ostinato.pb.scheduler.v1.jobs_pb2 import ForecastStartsRequest, ForecastStartsResponse
from ostinato.pb.scheduler.v1.project_config_pb2 import JobConfig
from ostinato.scheduling.forecasting import (
    MAX_SLOTS,
    ForecastJobs,
    HotMinute,
    TooManySlotsError,
    count_starts,
    due_within,
    find_hot_minutes,
    suggest_hash,
)
from ostinato.scheduling.schedule import ScheduleError, Timetable
from ostinato_api.api_resources import ApiResources
from ostinato_api.list_jobs import visible_realms
from ostinato_api.proto_time import set_time
from ostinato_api.request_checks import MAX_PAGE, RequestChecks

MAX_FORECAST = timedelta(days=7)
MAX_HOT_MINUTES = 20
MAX_NAMED_JOBS = 10
_DEFAULT_FORECAST = timedelta(days=1)
_MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class _Jobs:
    """`relative`: how many start after the ends of their runs."""

    groups: Sequence[ForecastJobs]
    relative: int


async def forecast_starts(
    api: ApiResources, access: CallAccess, request: ForecastStartsRequest
) -> ForecastStartsResponse:
    checks = RequestChecks()
    project = checks.project(request.parent, "parent")
    start, end = checks.instant(request, "start_time"), checks.instant(request, "end_time")
    checks.finish()
    start, end = _window(await _now(api) if start is None else start, end)
    visible = await visible_realms(api, access, project)
    if not visible:
        raise access.not_found(request.parent)
    views = await _load(api, visible, project)
    # In a thread: this process has other calls to answer.
    return await asyncio.to_thread(_forecast, views, start, end)


def _window(start: datetime, end: datetime | None) -> tuple[datetime, datetime]:
    """Whole minutes."""
    first = start.replace(second=0, microsecond=0)
    try:
        last = first + _DEFAULT_FORECAST if end is None else -(-(end - first) // _MINUTE) * _MINUTE + first
    except OverflowError:
        raise InvalidArgument.of("end_time", "must be a time that the calendar has") from None
    if not first < last <= first + MAX_FORECAST:
        raise InvalidArgument.of("end_time", f"must lie after start_time, by at most {MAX_FORECAST.days} days")
    return first, last


async def _now(api: ApiResources) -> datetime:
    async with api.db.transaction() as tx:
        return await tx.now()


async def _load(api: ApiResources, visible: dict[str, VisibleRealms], project: str) -> list[JobView]:
    """Enabled jobs that the caller may see."""
    found: list[JobView] = []
    after = (project, "")
    while page := await list_job_views(api.db, visible, after=after, limit=MAX_PAGE):
        found += page
        after = (project, page[-1].job.name)
    return found


def _forecast(views: Sequence[JobView], start: datetime, end: datetime) -> ForecastStartsResponse:
    jobs = _group(views)
    try:
        counts = count_starts(jobs.groups, start, end)
    except TooManySlotsError:
        rule = f"the schedules have more than {MAX_SLOTS} slots until then; choose an earlier end"
        raise InvalidArgument.of("end_time", rule) from None
    hot = find_hot_minutes(counts, start, most=MAX_HOT_MINUTES)
    response = ForecastStartsResponse(
        starts=sum(counts), relative_jobs=jobs.relative, hot_minutes=[_hot_message(each, jobs.groups) for each in hot]
    )
    set_time(response.start_time, start)
    set_time(response.end_time, end)
    for index, starts in enumerate(counts):
        if starts:
            set_time(response.minutes.add(starts=starts).time, start + index * _MINUTE)
    return response


def _group(views: Sequence[JobView]) -> _Jobs:
    names: dict[Hashable, tuple[Timetable, list[str]]] = {}
    relative = 0
    for view in views:
        if view.job.paused:
            continue
        timetable = _timetable(view)
        if timetable is None:
            continue
        if timetable.is_absolute:
            names.setdefault(_what_counts(timetable), (timetable, []))[1].append(view.job.resource_name)
        else:
            relative += 1
    return _Jobs([ForecastJobs(timetable, of_one) for timetable, of_one in names.values()], relative)


def _what_counts(timetable: Timetable) -> Hashable:
    """Equal for jobs that start at the same times: `H` has few values, but what jitter does differs from job to job."""
    return timetable.schedule, timetable.terms, timetable.delay if timetable.delay.jitter else None


def _timetable(view: JobView) -> Timetable | None:
    """None if its definition can't be read: such a job starts nothing, and ExplainJob says so."""
    try:
        config = JobConfig.FromString(view.job.definition)
        return cached_timetable(config.schedule, terms_of(config), view.job.resource_name)
    except (DecodeError, ScheduleError):
        return None


def _hot_message(minute: HotMinute, groups: Sequence[ForecastJobs]) -> ForecastStartsResponse.HotMinute:
    message = ForecastStartsResponse.HotMinute(starts=minute.starts, usual_starts=minute.usual)
    set_time(message.time, minute.at)
    named = sorted(_suggestions(minute, groups), key=lambda job: (not job.suggested_schedule, job.job))
    message.jobs.extend(named[:MAX_NAMED_JOBS])
    return message


def _suggestions(
    minute: HotMinute, groups: Sequence[ForecastJobs]
) -> Iterator[ForecastStartsResponse.HotMinute.StartingJob]:
    for group in due_within(groups, minute.at):
        suggested = suggest_hash(group.timetable) or ""
        for name in group.names:
            yield ForecastStartsResponse.HotMinute.StartingJob(
                job=name, schedule=group.timetable.text, suggested_schedule=suggested
            )
