"""When cron expressions fire. Expected instants come from a calendar, not from the code."""

from __future__ import annotations

import hashlib
from collections import Counter
from datetime import UTC, datetime, timedelta, timezone
from timeit import repeat

import pytest

from ostinato.scheduling.schedule import CronSchedule, CronTerms, parse_schedule


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def slots(expression: str, after: str, count: int) -> list[str]:
    schedule = parse_schedule(expression)
    found: list[str] = []
    instant: datetime | None = at(after)
    while instant is not None and len(found) < count:
        instant = schedule.next_after(instant)
        found.append("never" if instant is None else instant.strftime("%Y-%m-%dT%H:%M:%S"))
    return found


@pytest.mark.parametrize(
    ("expression", "after", "expected"),
    [
        ("* * * * *", "2026-03-01T00:00:00", ["2026-03-01T00:01:00", "2026-03-01T00:02:00"]),
        ("*/15 * * * * * *", "2026-03-01T00:00:01", ["2026-03-01T00:00:15", "2026-03-01T00:00:30"]),
        ("* * * * * * *", "2026-12-31T23:59:58", ["2026-12-31T23:59:59", "2027-01-01T00:00:00"]),
        ("0 */3 * * *", "2026-03-01T20:00:00", ["2026-03-01T21:00:00", "2026-03-02T00:00:00"]),
        ("0 */3 * * * *", "2026-03-01T20:00:00", ["2026-03-01T21:00:00", "2026-03-02T00:00:00"]),
        (
            "0 1/3 * * *",
            "2015-09-14T22:42:00",
            ["2015-09-15T01:00:00", "2015-09-15T04:00:00", "2015-09-15T07:00:00", "2015-09-15T10:00:00"],
        ),
        ("0 2,10,18 * * *", "2026-03-01T10:00:00", ["2026-03-01T18:00:00", "2026-03-02T02:00:00"]),
        ("0 7 * * *", "2026-02-28T07:00:00", ["2026-03-01T07:00:00"]),
        ("59 23 31 12 *", "2026-12-31T23:58:59", ["2026-12-31T23:59:00", "2027-12-31T23:59:00"]),
    ],
)
def test_the_usual_expressions(expression: str, after: str, expected: list[str]) -> None:
    assert slots(expression, after, len(expected)) == expected


def test_six_fields_end_in_the_year() -> None:
    """`* 0 * * * *` is each minute of hour 0, not each second."""
    assert slots("* 0 * * * *", "2026-03-01T00:58:00", 2) == ["2026-03-01T00:59:00", "2026-03-02T00:00:00"]
    assert slots("0 0 1 1 * 2030-2031", "2026-03-01T00:00:00", 3) == [
        "2030-01-01T00:00:00",
        "2031-01-01T00:00:00",
        "never",
    ]


def test_seven_fields_begin_with_the_second() -> None:
    assert slots("30 15 10 * * * 2026", "2026-12-30T10:15:30", 2) == ["2026-12-31T10:15:30", "never"]


def test_a_day_matches_either_restricted_day_field() -> None:
    assert slots("0 0 13 * 5", "2025-12-31T23:59:59", 5) == [
        "2026-01-02T00:00:00",
        "2026-01-09T00:00:00",
        "2026-01-13T00:00:00",
        "2026-01-16T00:00:00",
        "2026-01-23T00:00:00",
    ]


@pytest.mark.parametrize(
    "expression",
    [
        "0 0 13 * */1",  # every weekday, but written out: restricted, so either field matches
        "0 0 13 * 0-6",
        "0 0 13 * 0-7",
        "0 0 1-31 * 5",
        "0 0 */1 * 5",
        "0 0 ? * *",
        "0 0 * * ?",
        "0 0 ? * ?",
    ],
)
def test_a_field_that_is_not_exactly_a_star_is_restricted(expression: str) -> None:
    assert slots(expression, "2026-01-02T00:00:00", 2) == ["2026-01-03T00:00:00", "2026-01-04T00:00:00"]


@pytest.mark.parametrize("expression", ["0 0 13 * *", "0 0 13 * ?"])
def test_an_unrestricted_weekday_leaves_the_day_of_month_alone(expression: str) -> None:
    assert slots(expression, "2026-01-01T00:00:00", 2) == ["2026-01-13T00:00:00", "2026-02-13T00:00:00"]


@pytest.mark.parametrize("expression", ["0 0 * * 5", "0 0 ? * FRI"])
def test_an_unrestricted_day_of_month_leaves_the_weekday_alone(expression: str) -> None:
    assert slots(expression, "2026-01-01T00:00:00", 2) == ["2026-01-02T00:00:00", "2026-01-09T00:00:00"]


SUNDAYS = ["2026-01-04T00:00:00", "2026-01-11T00:00:00"]
WEEKEND_FROM_FRIDAY = ["2026-01-02T00:00:00", "2026-01-03T00:00:00", "2026-01-04T00:00:00", "2026-01-09T00:00:00"]


@pytest.mark.parametrize(
    ("weekday", "expected"),
    [
        ("0", SUNDAYS),
        ("7", SUNDAYS),
        ("sun", SUNDAYS),
        ("SuNdAy", SUNDAYS),
        ("7-7", SUNDAYS),
        ("5-7", WEEKEND_FROM_FRIDAY),
        ("fri-7", WEEKEND_FROM_FRIDAY),
        ("5,SAT,7", WEEKEND_FROM_FRIDAY),
        ("5/1,0", WEEKEND_FROM_FRIDAY),  # steps end at 6
        ("5-7/2", ["2026-01-02T00:00:00", "2026-01-04T00:00:00", "2026-01-09T00:00:00"]),
        ("7/3", ["2026-01-03T00:00:00", "2026-01-04T00:00:00", "2026-01-07T00:00:00"]),  # Sunday, Wednesday, Saturday
        ("*/7", SUNDAYS),
        ("1/3", ["2026-01-05T00:00:00", "2026-01-08T00:00:00", "2026-01-12T00:00:00"]),  # not Sunday by way of 7
    ],
)
def test_weekdays(weekday: str, expected: list[str]) -> None:
    assert slots(f"0 0 * * {weekday}", "2026-01-01T00:00:00", len(expected)) == expected


@pytest.mark.parametrize("month", ["2,3", "feb,MARCH", "February,mar", "02,03", "2-3", "2-3/1"])
def test_months(month: str) -> None:
    assert slots(f"0 0 1 {month} *", "2026-02-01T00:00:00", 2) == ["2026-03-01T00:00:00", "2027-02-01T00:00:00"]


@pytest.mark.parametrize(
    ("minute", "expected"),
    [
        ("5/20", [5, 25, 45]),
        ("10-30/10", [10, 20, 30]),
        ("*/25", [0, 25, 50]),
        ("*/60", [0]),
        ("58/1", [58, 59]),
        ("05,1-3,1-3", [1, 2, 3, 5]),
        ("*/30,7", [0, 7, 30]),
    ],
)
def test_steps_and_lists(minute: str, expected: list[int]) -> None:
    found = slots(f"{minute} 0 1 1 *", "2025-12-31T23:59:00", len(expected) + 1)
    assert [datetime.fromisoformat(slot).minute for slot in found[:-1]] == expected
    assert found[-1].startswith("2027-01-01T00:")


@pytest.mark.parametrize(
    ("alias", "expected"),
    [
        ("@yearly", "2027-01-01T00:00:00"),
        ("@Annually", "2027-01-01T00:00:00"),
        ("@monthly", "2026-04-01T00:00:00"),
        ("@weekly", "2026-03-22T00:00:00"),
        ("@DAILY", "2026-03-18T00:00:00"),
        ("@hourly", "2026-03-17T13:00:00"),
        (" @minutely\t", "2026-03-17T12:31:00"),
    ],
)
def test_aliases(alias: str, expected: str) -> None:
    assert slots(alias, "2026-03-17T12:30:00", 1) == [expected]


def test_any_run_of_spaces_and_tabs_separates() -> None:
    assert slots(" 0\t \t1/3  * *\t*  ", "2015-09-14T22:42:00", 1) == ["2015-09-15T01:00:00"]


def test_days_that_a_month_lacks_are_skipped() -> None:
    assert slots("0 0 31 * *", "2026-01-31T00:00:00", 3) == [
        "2026-03-31T00:00:00",
        "2026-05-31T00:00:00",
        "2026-07-31T00:00:00",
    ]


def test_leap_days() -> None:
    assert slots("0 0 29 2 *", "2024-02-29T00:00:00", 2) == ["2028-02-29T00:00:00", "2032-02-29T00:00:00"]
    assert slots("0 0 29 2 * 2001-2003", "1999-01-01T00:00:00", 1) == ["never"]


@pytest.mark.parametrize(
    "expression", ["0 0 30 2 *", "0 0 31 2,4,6,9,11 *", "0 0 30-31 feb *", "* * * * * 1999", "0 0 1 1 * 2026"]
)
def test_an_expression_that_matches_nothing_more_has_no_next_slot(expression: str) -> None:
    assert slots(expression, "2026-06-01T00:00:00", 1) == ["never"]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("0 0 L * *", ["2026-01-31", "2026-02-28", "2026-03-31", "2026-04-30"]),
        ("0 0 l 2 * 2028", ["2028-02-29", "never"]),
        ("0 0 LW * *", ["2026-01-30", "2026-02-27", "2026-03-31"]),
        ("0 0 lw 5 *", ["2026-05-29", "2027-05-31"]),  # May 2026 ends on a Sunday
        ("0 0 15W * *", ["2026-01-15", "2026-02-16", "2026-03-16", "2026-04-15", "2026-05-15"]),
        ("0 0 1w * *", ["2026-01-01", "2026-02-02", "2026-03-02", "2026-04-01", "2026-05-01", "2026-06-01"]),
        ("0 0 1W 8 *", ["2026-08-03", "2027-08-02"]),  # a Saturday: Monday, and not in July
        ("0 0 31W * *", ["2026-01-30", "2026-03-31", "2026-05-29", "2026-07-31"]),  # no slot where there is no 31st
        ("0 0 31W 4,6,9,11 *", ["never"]),
        ("0 0 30W 8,11 *", ["2026-08-31", "2026-11-30"]),
        ("0 0 L,1,15W 2 *", ["2026-02-01", "2026-02-16", "2026-02-28", "2027-02-01"]),
        ("0 0 * * 5L", ["2026-01-30", "2026-02-27", "2026-03-27"]),
        ("0 0 * * FRIL", ["2026-01-30", "2026-02-27"]),
        ("0 0 * * 7l,0L,sundayL", ["2026-01-25", "2026-02-22"]),
        ("0 0 * * 5#3", ["2026-01-16", "2026-02-20", "2026-03-20"]),
        ("0 0 * * FRI#5", ["2026-01-30", "2026-05-29", "2026-07-31"]),
        ("0 0 * * 7#1", ["2026-01-04", "2026-02-01"]),
        (
            "0 0 * * mon#1,3,FRIL 2026",
            ["2026-01-05", "2026-01-07", "2026-01-14", "2026-01-21", "2026-01-28", "2026-01-30"],
        ),
        ("0 0 L * 1#1", ["2026-01-05", "2026-01-31", "2026-02-02"]),  # either of two restricted fields
        ("0 0 * 2 5#5", ["2036-02-29", "2064-02-29", "2092-02-29", "never"]),
    ],
)
def test_days_that_depend_on_the_month(expression: str, expected: list[str]) -> None:
    found = slots(expression, "2025-12-31T23:59:59", len(expected))
    assert [slot.removesuffix("T00:00:00") for slot in found] == expected


def hashed(expression: str, job: str = "j") -> CronSchedule:
    schedule = parse_schedule(expression, CronTerms(job_name=f"projects/p/jobs/{job}"))
    assert isinstance(schedule, CronSchedule)
    return schedule


def members(mask: int) -> list[int]:
    return [bit for bit in range(mask.bit_length()) if mask >> bit & 1]


def choice(index: int, choices: int, job: str = "j") -> int:
    digest = hashlib.sha256(f"projects/p/jobs/{job}\n{index}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % choices


def test_a_hash_picks_one_value_for_each_job_and_field() -> None:
    times = hashed("H H H H H * *").times
    assert members(times.seconds) == [choice(0, 60)]
    assert members(times.minutes) == [choice(1, 60)]
    assert members(times.hours) == [choice(2, 24)]
    assert hashed("H * * * *").times.minutes == hashed("0 H * * * * *").times.minutes
    assert members(hashed("0 0 H * *").times.days.days_by_shape[0]) == [1 + choice(3, 28)]
    assert members(hashed("0 0 1 h *").times.days.months) == [1 + choice(4, 12)]


def test_a_hash_in_a_range_with_a_step_or_in_a_list() -> None:
    assert members(hashed("H(10-19) * * * *").times.minutes) == [10 + choice(1, 10)]
    assert members(hashed("H/15 * * * *").times.minutes) == list(range(choice(1, 15), 60, 15))
    assert members(hashed("H(7-50)/20 * * * *").times.minutes) == list(range(7 + choice(1, 20), 51, 20))
    assert members(hashed("H/1 * * * *").times.minutes) == list(range(60))
    assert members(hashed("0 H,0 * * *").times.hours) == sorted({0, choice(2, 24)})
    assert members(hashed("0 0 * * H(5-7)").times.days.days_by_shape[0])[0] in (1, 6, 7)


def test_a_thousand_jobs_spread_over_the_hour() -> None:
    minutes = Counter(members(hashed("H * * * *", f"job-{n}").times.minutes)[0] for n in range(1000))
    assert len(minutes) == 60
    assert max(minutes.values()) < 40


@pytest.mark.parametrize("expression", ["0 0 30 2 *", "0 0 29 2 * 2097-2099", "0 0 * 2 5#5 2093-2099"])
def test_what_matches_in_no_year_has_no_years_to_search(expression: str) -> None:
    schedule = parse_schedule(expression)
    assert isinstance(schedule, CronSchedule)
    assert schedule.times.days.years == 0


def test_years_end_with_2099_and_begin_with_1970() -> None:
    assert slots("* * * * * * *", "2099-12-31T23:59:58", 2) == ["2099-12-31T23:59:59", "never"]
    assert slots("* * * * *", "9999-12-31T23:59:59", 1) == ["never"]
    assert slots("* * * * *", "1969-07-20T20:17:40", 1) == ["1970-01-01T00:00:00"]
    assert slots("* * * * *", "0001-01-01T00:00:00", 1) == ["1970-01-01T00:00:00"]


def test_slots_are_whole_seconds_strictly_after() -> None:
    schedule = parse_schedule("* * * * * * *")
    assert schedule.next_after(at("2026-01-01T00:00:00.999999")) == at("2026-01-01T00:00:01")
    assert schedule.next_after(at("2026-01-01T00:00:01")) == at("2026-01-01T00:00:02")


def test_an_instant_of_another_zone_is_taken_as_the_instant_it_is() -> None:
    tokyo = timezone(timedelta(hours=9))
    found = parse_schedule("0 0 * * *").next_after(datetime(2026, 1, 2, 8, 59, tzinfo=tokyo))
    assert found == at("2026-01-02T00:00:00")
    assert found is not None
    assert found.tzinfo is UTC


def test_the_text_stays_as_it_was_written() -> None:
    assert parse_schedule(" @Daily ").text == " @Daily "


def test_a_schedule_that_never_fires_is_as_quick_to_ask_as_one_that_does() -> None:
    instant = at("2026-06-01T00:00:00")

    def best(expression: str) -> float:
        schedule = parse_schedule(expression)
        return min(repeat(lambda: schedule.next_after(instant), number=200, repeat=5))

    usual = best("0 3 * * *")
    assert best("0 0 30 2 *") < 20 * usual
    assert best("0 0 29 2 * 2097-2099") < 20 * usual
    assert best("0 0 29 2 */2") < 20 * usual
    assert best("0 0 * 2 5#5 2093-2099") < 20 * usual
    assert best("0 0 29 2 * 2001/2") < 20 * usual
