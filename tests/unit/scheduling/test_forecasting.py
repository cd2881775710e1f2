from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ostinato.scheduling import forecasting
from ostinato.scheduling.forecasting import (
    ForecastJobs,
    HotMinute,
    TooManySlotsError,
    count_starts,
    due_within,
    find_hot_minutes,
    suggest_hash,
)
from ostinato.scheduling.schedule import Blackout, ScheduleTerms, Timetable

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


def jobs(schedule: str, *names: str, terms: ScheduleTerms | None = None) -> ForecastJobs:
    timetable = Timetable.make(schedule, terms, job_name=names[0] if names else "a")
    return ForecastJobs(timetable, names or ("a",))


def busy_minutes(counts: list[int]) -> dict[int, int]:
    return {minute: count for minute, count in enumerate(counts) if count}


def test_a_start_counts_in_its_minute_once_for_each_job() -> None:
    counts = count_starts([jobs("0 * * * *", "a", "b"), jobs("*/20 * * * *", "c")], MONDAY, MONDAY + 2 * HOUR)
    assert len(counts) == 120
    assert busy_minutes(counts) == {0: 3, 20: 1, 40: 1, 60: 3, 80: 1, 100: 1}


def test_the_first_minute_is_in_and_the_end_is_not() -> None:
    assert count_starts([jobs("every 1m")], MONDAY, MONDAY + 2 * MINUTE) == [1, 1]


def test_a_job_that_starts_every_second_counts_sixty_times() -> None:
    assert count_starts([jobs("every 1s"), jobs("* * * * * * *")], MONDAY, MONDAY + 2 * MINUTE) == [120, 120]


def test_starts_count_when_they_are_due() -> None:
    terms = ScheduleTerms(offset=timedelta(minutes=90))
    counts = count_starts([jobs("0 23 * * *", terms=terms)], MONDAY, MONDAY + HOUR)
    assert busy_minutes(counts) == {30: 1}


def test_jitter_spreads_the_starts_over_its_length() -> None:
    terms = ScheduleTerms(jitter=timedelta(minutes=30))
    groups = [jobs("0 * * * *", f"job {number}", terms=terms) for number in range(200)]
    counts = count_starts(groups, MONDAY, MONDAY + HOUR)
    assert sum(counts[:31]) == sum(counts) == 200
    assert max(counts) < 30


def test_blackouts_bring_none() -> None:
    terms = ScheduleTerms(blackouts=(Blackout(MONDAY + 10 * MINUTE, MONDAY + 20 * MINUTE),))
    assert sum(count_starts([jobs("every 1m", terms=terms)], MONDAY, MONDAY + 30 * MINUTE)) == 20


def test_too_many_slots_are_refused_and_jobs_that_share_a_timetable_cost_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecasting, "MAX_SLOTS", 60)
    many = [f"job {number}" for number in range(50)]
    assert sum(count_starts([jobs("every 1s", *many)], MONDAY, MONDAY + MINUTE)) == 3000
    with pytest.raises(TooManySlotsError):
        count_starts([jobs("every 1s"), jobs("every 1m")], MONDAY, MONDAY + MINUTE)


def test_a_minute_is_hot_from_ten_starts_and_five_times_the_rest_of_its_hour_on() -> None:
    counts = [0] * 120
    counts[0] = 10
    counts[30] = 9
    counts[60:120] = [2] * 60
    counts[61] = 10
    counts[62] = 11
    hot = find_hot_minutes(counts, MONDAY, most=9)
    assert hot == [
        HotMinute(MONDAY, 10, 9 / 59),
        HotMinute(MONDAY + 62 * MINUTE, 11, (58 * 2 + 10) / 59),
    ]


def test_hours_are_those_of_the_clock() -> None:
    counts = [12, *[0] * 20]
    counts[15] = 12  # at a quarter past the hour: of an hour of which the first ten minutes are missing
    hot = find_hot_minutes(counts, MONDAY + 45 * MINUTE, most=9)
    assert [(minute.at, minute.usual) for minute in hot] == [
        (MONDAY + 45 * MINUTE, 0.0),
        (MONDAY + 60 * MINUTE, 0.0),
    ]


def test_the_hottest_are_kept_in_order_of_time() -> None:
    counts = [0] * 180
    counts[10], counts[70], counts[130] = 20, 10, 30
    hot = find_hot_minutes(counts, MONDAY, most=2)
    assert [minute.starts for minute in hot] == [20, 30]


def test_who_starts_in_a_minute() -> None:
    offset = ScheduleTerms(offset=5 * MINUTE)
    hourly, later, spread = (
        jobs("0 * * * *", "hourly"),
        jobs("0 * * * *", "later", terms=offset),
        jobs("0 * * * *", "spread", terms=ScheduleTerms(jitter=MINUTE)),
    )
    groups = [hourly, later, spread, jobs("every 1s", "always"), jobs("triggered", "never")]
    assert [group.names for group in due_within(groups, MONDAY)] == [("hourly",), ("always",)]
    assert [group.names for group in due_within(groups, MONDAY + 5 * MINUTE)] == [("later",), ("always",)]


@pytest.mark.parametrize(
    ("schedule", "suggested"),
    [
        ("0 * * * *", "H * * * *"),
        ("30 3 * * MON-FRI", "H 3 * * MON-FRI"),
        ("0 3 1 * * 2027", "H 3 1 * * 2027"),
        ("15 0 3 * * * *", "15 H 3 * * * *"),
        ("@hourly", "H * * * *"),
        ("@Daily", "H 0 * * *"),
        ("*/15 * * * *", "H/15 * * * *"),
        ("5/20 * * * *", "H/20 * * * *"),
        ("0,30 8 * * *", "H/30 8 * * *"),
        ("20,40,0 * * * *", "H/20 * * * *"),
        ("every 1h", "H * * * *"),
        ("every 15m", "H/15 * * * *"),
    ],
)
def test_a_fixed_minute_can_be_hashed(schedule: str, suggested: str) -> None:
    assert suggest_hash(jobs(schedule).timetable) == suggested
    moved = Timetable.make(suggested, job_name="projects/shop/jobs/nightly")
    days = [datetime(2026, 12, 20, tzinfo=UTC), datetime(2027, 1, 10, tzinfo=UTC)]
    before, after = (
        sum(count_starts([ForecastJobs(each, ("a",))], *days)) for each in (jobs(schedule).timetable, moved)
    )
    assert before == after > 0


@pytest.mark.parametrize(
    "schedule",
    [
        *("* * * * *", "H * * * *", "*/7 * * * *", "*/1 * * * *", "40/20 * * * *", "0-10 * * * *", "0-30/10 * * * *"),
        *("0,10 * * * *", "0,30/10 * * * *", "@minutely", "every 7m", "every 90s", "every 1m", "every 2h", "triggered"),
        *("with 1h interval", "at 2026-03-02T00:00:00Z"),
    ],
)
def test_where_hashing_the_minute_would_change_more_nothing_is_suggested(schedule: str) -> None:
    assert suggest_hash(jobs(schedule).timetable) is None


def test_what_jitter_spreads_needs_no_hash() -> None:
    assert suggest_hash(jobs("0 * * * *", terms=ScheduleTerms(jitter=MINUTE)).timetable) is None
