"""Whether two timetables have the same slots in a stretch of time, at its ends above all."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ostinato.scheduling.schedule import Blackout, ScheduleTerms, Timetable

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR, SECOND = timedelta(hours=1), timedelta(seconds=1)
FIRST, UNTIL = NOON, NOON + 3 * HOUR  # slots at 12, 13, 14 and 15


def hourly(**terms: Any) -> Timetable:
    return Timetable.make("0 * * * *", ScheduleTerms(**terms))


def blackout(start: datetime, end: datetime) -> Timetable:
    return hourly(blackouts=(Blackout(start, end),))


@pytest.mark.parametrize(
    "other",
    [
        hourly(offset=HOUR, jitter=HOUR),
        hourly(start_after=FIRST - SECOND),
        hourly(end_before=UNTIL + SECOND),
        blackout(FIRST - HOUR, FIRST),
        blackout(UNTIL + SECOND, UNTIL + HOUR),
    ],
)
def test_what_differs_outside_does_not_matter(other: Timetable) -> None:
    assert hourly().agrees_on(other, FIRST, UNTIL)
    assert other.agrees_on(hourly(), FIRST, UNTIL)


@pytest.mark.parametrize(
    "other",
    [
        Timetable.make("30 * * * *"),
        hourly(start_after=FIRST),
        hourly(start_after=UNTIL + HOUR),
        hourly(end_before=UNTIL),
        hourly(end_before=FIRST - HOUR),
        blackout(FIRST - HOUR, FIRST + SECOND),
        blackout(UNTIL, UNTIL + HOUR),
        blackout(FIRST - HOUR, UNTIL + HOUR),
    ],
)
def test_what_differs_inside_matters(other: Timetable) -> None:
    assert not hourly().agrees_on(other, FIRST, UNTIL)
    assert not other.agrees_on(hourly(), FIRST, UNTIL)


def test_blackouts_that_go_on_outside_are_the_same_inside() -> None:
    assert blackout(FIRST - HOUR, FIRST + HOUR).agrees_on(blackout(FIRST - 9 * HOUR, FIRST + HOUR), FIRST, UNTIL)
    assert blackout(UNTIL, UNTIL + HOUR).agrees_on(blackout(UNTIL, UNTIL + 9 * HOUR), FIRST, UNTIL)


def test_nothing_differs_where_none_has_a_slot() -> None:
    late, never = hourly(start_after=UNTIL + HOUR), hourly(start_after=UNTIL + 2 * HOUR)
    assert late.agrees_on(never, FIRST, UNTIL)
    assert hourly(end_before=FIRST).agrees_on(hourly(end_before=FIRST - HOUR), FIRST, UNTIL)
