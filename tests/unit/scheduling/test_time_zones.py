"""Cron expressions where the clock is changed. Expected instants come from a calendar, not from the code."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from ostinato.scheduling.schedule import CronTerms, FoldPolicy, GapPolicy, parse_schedule
from ostinato.zones import load_zone

SHIFT, SKIP = GapPolicy.SHIFT, GapPolicy.SKIP
FIRST, LAST, BOTH = FoldPolicy.FIRST, FoldPolicy.LAST, FoldPolicy.BOTH
NEW_YORK, LORD_HOWE, APIA = "America/New_York", "Australia/Lord_Howe", "Pacific/Apia"


def slots(
    expression: str, zone: str, after: str, count: int, gap: GapPolicy = SHIFT, fold: FoldPolicy = FIRST
) -> list[str]:
    schedule = parse_schedule(expression, CronTerms(load_zone(zone), gap, fold))
    found: list[str] = []
    at: datetime | None = datetime.fromisoformat(after).replace(tzinfo=UTC)
    while at is not None and len(found) < count:
        at = schedule.next_after(at)
        found.append("never" if at is None else at.strftime("%Y-%m-%dT%H:%M"))
    return found


def test_a_time_is_one_of_the_wall_clock() -> None:
    assert slots("0 3 * * *", "Europe/Rome", "2026-06-30T12:00", 1) == ["2026-07-01T01:00"]
    assert slots("0 3 * * *", "Europe/Rome", "2026-12-31T12:00", 1) == ["2027-01-01T02:00"]
    assert slots("0 0 1 1 *", "Pacific/Kiritimati", "2026-06-01T00:00", 1) == ["2026-12-31T10:00"]
    assert slots("0 12 * * MON", "Asia/Kolkata", "2026-03-01T00:00", 1) == ["2026-03-02T06:30"]


def test_a_time_in_a_gap_is_shifted_to_its_end_or_skipped() -> None:
    assert slots("30 2 * * *", NEW_YORK, "2026-03-07T12:00", 2) == ["2026-03-08T07:00", "2026-03-09T06:30"]
    assert slots("30 2 * * *", NEW_YORK, "2026-03-07T12:00", 1, SKIP) == ["2026-03-09T06:30"]


def test_times_shifted_to_one_instant_are_one_slot() -> None:
    expected = ["2026-03-08T06:45", "2026-03-08T07:00", "2026-03-08T07:15"]
    assert slots("*/15 1-3 * * *", NEW_YORK, "2026-03-08T06:30", 3) == expected
    assert slots("*/15 1-3 * * *", NEW_YORK, "2026-03-08T06:30", 3, SKIP) == expected


@pytest.mark.parametrize(
    ("fold", "expected"),
    [
        (FIRST, ["2026-11-01T05:30", "2026-11-02T06:30"]),
        (LAST, ["2026-11-01T06:30", "2026-11-02T06:30"]),
        (BOTH, ["2026-11-01T05:30", "2026-11-01T06:30", "2026-11-02T06:30"]),
    ],
)
def test_a_time_in_a_fold_comes_first_last_or_twice(fold: FoldPolicy, expected: list[str]) -> None:
    assert slots("30 1 * * *", NEW_YORK, "2026-10-31T12:00", len(expected), fold=fold) == expected


def test_a_fold_is_not_passed_by_on_the_way_to_a_slot_far_away() -> None:
    assert slots("30 1 1 11 *", NEW_YORK, "2026-06-01T00:00", 3, fold=BOTH) == [
        "2026-11-01T05:30",
        "2026-11-01T06:30",
        "2027-11-01T05:30",
    ]


@pytest.mark.parametrize("gap", GapPolicy)
@pytest.mark.parametrize("fold", FoldPolicy)
def test_with_any_hour_every_matching_instant_is_a_slot(gap: GapPolicy, fold: FoldPolicy) -> None:
    assert slots("30 * * * *", NEW_YORK, "2026-11-01T04:00", 4, gap, fold) == [
        "2026-11-01T04:30",
        "2026-11-01T05:30",
        "2026-11-01T06:30",
        "2026-11-01T07:30",
    ]
    assert slots("30 * * * *", NEW_YORK, "2026-03-08T06:00", 2, gap, fold) == ["2026-03-08T06:30", "2026-03-08T07:30"]


def test_hours_written_out_are_times_of_the_clock() -> None:
    assert slots("30 0-23 * * *", NEW_YORK, "2026-11-01T04:00", 3) == [
        "2026-11-01T04:30",
        "2026-11-01T05:30",
        "2026-11-01T07:30",
    ]


def test_a_change_by_half_an_hour() -> None:
    """Lord Howe goes from 02:00 to 02:30 in October, and from 02:00 back to 01:30 in April."""
    assert slots("15 2 * * *", LORD_HOWE, "2026-10-03T00:00", 1) == ["2026-10-03T15:30"]
    assert slots("45 1 * * *", LORD_HOWE, "2026-04-04T00:00", 3, fold=BOTH) == [
        "2026-04-04T14:45",
        "2026-04-04T15:15",
        "2026-04-05T15:15",
    ]


def test_a_day_that_a_zone_left_out() -> None:
    """Samoa had no 2011-12-30: after the 29th came the 31st."""
    assert slots("0 9 30 12 * 2011", APIA, "2011-12-01T00:00", 2) == ["2011-12-30T10:00", "never"]
    assert slots("0 9 30 12 * 2011", APIA, "2011-12-01T00:00", 1, SKIP) == ["never"]
    assert slots("0 0,9 30,31 12 * 2011", APIA, "2011-12-01T00:00", 3) == [
        "2011-12-30T10:00",
        "2011-12-30T19:00",
        "never",
    ]


def test_years_are_those_of_the_zone() -> None:
    assert slots("59 23 31 12 * 2099", "Pacific/Pago_Pago", "2099-12-31T23:59", 2) == ["2100-01-01T10:59", "never"]
    assert slots("0 0 1 1 * 1970", "Asia/Tokyo", "1969-01-01T00:00", 1) == ["1969-12-31T15:00"]


def test_a_time_that_only_gaps_have_is_known_to_have_no_slot() -> None:
    assert slots("30 2 * 3 SUN#2", NEW_YORK, "2008-01-01T00:00", 1, SKIP) == ["never"]
