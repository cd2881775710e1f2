"""What a job may say about its schedule. All violations at once, each with the path of its field."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from ostinato.errors import Violation
from ostinato.scheduling.schedule import (
    UTC_ZONE,
    AtSchedule,
    Blackout,
    CatchUp,
    CatchUpPolicy,
    ScheduleError,
    ScheduleTerms,
    Timetable,
    TriggeredSchedule,
    Zone,
)

MAX_OFFSET = timedelta(hours=24)
MAX_JITTER = timedelta(hours=24)
MAX_BLACKOUTS = 1_000
MAX_CATCH_UP_WINDOW = timedelta(days=366)
MAX_CATCH_UP_LIMIT = 1_000
MIN_START_DEADLINE = timedelta(seconds=1)
MAX_START_DEADLINE = timedelta(days=7)
# Later slots are nobody's plan, and delays must not lead out of the calendar.
END_OF_TIME = datetime(2100, 1, 1, tzinfo=UTC)
_FOR_SLOTS = "is for schedules with slots: cron, `every` and `at`"

# The zone of that name; raises ValueError for none. The core reads no files, so it is given this.
FindZone: TypeAlias = Callable[[str], Zone]


def only_utc(name: str) -> Zone:
    if name != UTC_ZONE.name:
        raise ValueError("must be UTC")
    return UTC_ZONE


def validate_schedule(
    text: str, terms: ScheduleTerms, path: str, job_name: str | None, find_zone: FindZone = only_utc
) -> list[Violation]:
    """`path` is that of the job; without `job_name` the expression must not have an `H`."""
    try:
        zone, violations = find_zone(terms.time_zone), []
    except ValueError as error:
        zone, violations = UTC_ZONE, [Violation(_within(path, "time_zone"), str(error))]
    try:
        timetable = Timetable.make(text, terms, zone=zone, job_name=job_name)
    except ScheduleError as error:
        violations.append(Violation(_within(path, "schedule"), str(error)))
    else:
        violations += _check_needed(timetable, path)
        if isinstance(timetable.schedule, AtSchedule) and timetable.schedule.instant >= END_OF_TIME:
            violations.append(Violation(_within(path, "schedule"), "must lie before the year 2100"))
    return [
        *violations,
        *_check_delays(terms, path),
        *_check_times(terms, path),
        *_check_catch_up(terms.catch_up, _within(path, "catch_up")),
    ]


def validate_start_deadline(text: str, start_deadline: timedelta | None, path: str) -> Iterator[Violation]:
    if start_deadline is None:
        return
    if not MIN_START_DEADLINE <= start_deadline <= MAX_START_DEADLINE:
        yield Violation(path, "must be between 1s and 7 days")
    if not _may_have_slots(text):
        yield Violation(path, _FOR_SLOTS)


def _may_have_slots(text: str) -> bool:
    """A mistake in the expression is another violation."""
    return text.split()[:1] not in (["triggered"], ["with"], ["continuously"])


def _has_slots(timetable: Timetable) -> bool:
    return timetable.is_absolute and not isinstance(timetable.schedule, TriggeredSchedule)


def _check_needed(timetable: Timetable, path: str) -> Iterator[Violation]:
    if _has_slots(timetable):
        return
    terms = timetable.terms
    given = {
        "offset": terms.offset,
        "jitter": terms.jitter,
        "start_after": terms.start_after,
        "end_before": terms.end_before,
        "blackouts": terms.blackouts,
        "catch_up": terms.catch_up != CatchUp(),
    }
    for name, value in given.items():
        if value:
            yield Violation(_within(path, name), _FOR_SLOTS)


def _check_delays(terms: ScheduleTerms, path: str) -> Iterator[Violation]:
    if not timedelta(0) <= terms.offset <= MAX_OFFSET:
        yield Violation(_within(path, "offset"), "must be between 0s and 24 hours")
    if not timedelta(0) <= terms.jitter <= MAX_JITTER or terms.jitter % timedelta(milliseconds=1):
        yield Violation(_within(path, "jitter"), "must be between 0s and 24 hours, whole milliseconds")


def _check_times(terms: ScheduleTerms, path: str) -> Iterator[Violation]:
    for name, at in (("start_after", terms.start_after), ("end_before", terms.end_before)):
        if at is not None and at >= END_OF_TIME:
            yield Violation(_within(path, name), "must lie before the year 2100")
    if terms.start_after is not None and terms.end_before is not None and terms.end_before <= terms.start_after:
        yield Violation(_within(path, "end_before"), "must lie after start_after")
    if len(terms.blackouts) > MAX_BLACKOUTS:
        yield Violation(_within(path, "blackouts"), f"must be at most {MAX_BLACKOUTS}, those of calendars included")


def _check_catch_up(catch_up: CatchUp, path: str) -> Iterator[Violation]:
    if not timedelta(0) < catch_up.window <= MAX_CATCH_UP_WINDOW:
        yield Violation(f"{path}.window", f"must be more than 0s and at most {MAX_CATCH_UP_WINDOW.days} days")
    if not 1 <= catch_up.limit <= MAX_CATCH_UP_LIMIT:
        yield Violation(f"{path}.limit", f"must be between 1 and {MAX_CATCH_UP_LIMIT}")
    elif catch_up.limit != CatchUp().limit and catch_up.policy is not CatchUpPolicy.ALL:
        yield Violation(f"{path}.limit", "is for the policy ALL")


def check_blackout(blackout: Blackout, path: str) -> Iterator[Violation]:
    if blackout.end <= blackout.start:
        yield Violation(f"{path}.end_time", "must lie after start_time")
    for name, at in (("start_time", blackout.start), ("end_time", blackout.end)):
        if _is_broken(at):
            yield Violation(f"{path}.{name}", "must be whole seconds")


def _is_broken(at: datetime) -> bool:
    return at.microsecond != 0


def _within(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
