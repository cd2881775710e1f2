"""The `calendars` of a project config, and what the jobs that name them get: blackouts of their own.

So a job's definition holds all that its schedule needs, and an edit of a calendar is an edit of the jobs that name it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta

from google.protobuf.timestamp_pb2 import Timestamp

from ostinato.errors import Violation
from ostinato.jobstore.schedule_terms_codec import blackout_message, check_blackout_message
from ostinato.pb.scheduler.v1.project_config_pb2 import Calendar, JobConfig
from ostinato.scheduling.schedule import UTC_ZONE, Blackout, Zone
from ostinato.zones import UnknownZoneError, load_zone

MAX_CALENDARS = 100
MAX_DAYS = 500
MAX_PERIODS = 500
# So that a small file stays small.
MAX_RESOLVED = 200_000

_ID = re.compile(r"[a-z][a-z0-9-]{0,62}")
_DAY = r"([0-9]{4}-[0-9]{2}-[0-9]{2})"
_DAYS = re.compile(f"{_DAY}(?:/{_DAY})?")
_DAYS_RULE = "must be a day such as 2026-12-25, or 2026-12-24/2027-01-06 for all from the one to the other"
_EPOCH, _FIRST_DAY = datetime(1970, 1, 1, tzinfo=UTC), date(1970, 1, 1)
_YEARS = range(1970, 2100)

Calendars = Mapping[str, Sequence[Blackout]]


def read_calendars(calendars: Sequence[Calendar]) -> tuple[Calendars, list[Violation]]:
    """The blackouts of each calendar by its id, and what is wrong with them."""
    found: dict[str, list[Blackout]] = {}
    violations = [Violation("calendars", f"must be at most {MAX_CALENDARS}")] if len(calendars) > MAX_CALENDARS else []
    for index, calendar in enumerate(calendars[:MAX_CALENDARS]):
        path = f"calendars[{index}]"
        if not _ID.fullmatch(calendar.id):
            rule = "must be 1 to 63 lower-case letters, digits and dashes, beginning with a letter"
            violations.append(Violation(f"{path}.id", rule))
        elif calendar.id in found:
            violations.append(Violation(f"{path}.id", f"{calendar.id!r} is already the id of another calendar"))
        blackouts, broken = _read_calendar(calendar, path)
        violations += broken
        found.setdefault(calendar.id, blackouts)
    return found, violations


def resolve_calendars(jobs: Sequence[JobConfig], calendars: Calendars) -> list[Violation]:
    """Replaces the names of calendars in the jobs by their blackouts."""
    if sum(len(calendars.get(name, ())) for job in jobs for name in job.blackout_calendars) > MAX_RESOLVED:
        return [Violation("jobs", f"must have at most {MAX_RESOLVED} blackouts of calendars together")]
    return [violation for index, job in enumerate(jobs) for violation in _resolve(job, f"jobs[{index}]", calendars)]


def _resolve(job: JobConfig, path: str, calendars: Calendars) -> list[Violation]:
    violations = [
        violation
        for index, blackout in enumerate(job.blackouts)
        for violation in check_blackout_message(blackout, f"{path}.blackouts[{index}]")
    ]
    for index, name in enumerate(job.blackout_calendars):
        if name in calendars:
            job.blackouts.extend(blackout_message(blackout) for blackout in calendars[name])
        else:
            rule = f"there is no calendar {name!r} in this project"
            violations.append(Violation(f"{path}.blackout_calendars[{index}]", rule))
    job.ClearField("blackout_calendars")
    return violations


def _read_calendar(calendar: Calendar, path: str) -> tuple[list[Blackout], list[Violation]]:
    violations = [
        Violation(f"{path}.{name}", f"must be at most {most}")
        for name, count, most in (
            ("days", len(calendar.days), MAX_DAYS),
            ("periods", len(calendar.periods), MAX_PERIODS),
        )
        if count > most
    ]
    if violations:
        return [], violations
    zone = UTC_ZONE
    try:
        zone = load_zone(calendar.time_zone or UTC_ZONE.name)
    except UnknownZoneError as error:
        violations.append(Violation(f"{path}.time_zone", str(error)))
    blackouts = []
    for index, text in enumerate(calendar.days):
        days = _read_days(text)
        if days is None:
            violations.append(Violation(f"{path}.days[{index}]", f"{_DAYS_RULE}, in the years 1970 to 2099"))
        else:
            blackouts.append(_of_days(*days, zone, calendar.id))
    for index, period in enumerate(calendar.periods):
        blackout = Blackout(_instant(period.start_time), _instant(period.end_time), calendar.id)
        violations += check_blackout_message(period, f"{path}.periods[{index}]")
        blackouts.append(blackout)
    return blackouts, violations


def _read_days(text: str) -> tuple[date, date] | None:
    match = _DAYS.fullmatch(text)
    if match is None:
        return None
    try:
        first = date.fromisoformat(match[1])
        last = date.fromisoformat(match[2] or match[1])
    except ValueError:
        return None
    return (first, last) if first <= last and first.year in _YEARS and last.year in _YEARS else None


def _of_days(first: date, last: date, zone: Zone, calendar: str) -> Blackout:
    begin, end = (_midnight(day, zone) for day in (first, last + timedelta(days=1)))
    return Blackout(begin, end, calendar)


def _midnight(day: date, zone: Zone) -> datetime:
    """Or, where the clock leaves it out, the first instant of the day."""
    return _EPOCH + timedelta(seconds=zone.first_instant((day - _FIRST_DAY).days * 86_400))


def _instant(timestamp: Timestamp) -> datetime:
    return timestamp.ToDatetime(tzinfo=UTC)
