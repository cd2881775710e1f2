"""Schedules against an independent oracle, and what holds for every schedule."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ostinato.scheduling.duration import DurationError, parse_duration
from ostinato.scheduling.schedule import CronTerms, ScheduleError, parse_schedule
from tests.property.cron_oracle import CronOracle

HORIZON_DAYS = 3 * 366
SECOND = timedelta(seconds=1)
OF_A_JOB = CronTerms(job_name="projects/p/jobs/j")
MONTHS = ["jan", "FEB", "March", "apr", "May", "JUNE", "july", "aug", "sep", "October", "nov", "dec"]
WEEKDAYS = ["sun", "MON", "Tuesday", "wed", "thu", "FRI", "saturday"]

INSTANTS = st.datetimes(datetime(1969, 1, 1), datetime(2098, 12, 31), timezones=st.just(UTC))
NEAR = st.datetimes(datetime(2024, 1, 1), datetime(2027, 12, 31), timezones=st.just(UTC))


@st.composite
def fields(draw: st.DrawFn, low: int, high: int, names: list[str] | None = None, *, highest: int | None = None) -> str:
    top = highest or high

    def written(value: int) -> str:
        forms = [str(value), f"{value:02}"]
        if names and value - low < len(names):
            forms.append(names[value - low])
        return draw(st.sampled_from(forms))

    def item(kind: str) -> str:
        a, b = sorted((draw(st.integers(low, top)), draw(st.integers(low, top))))
        step = draw(st.integers(1, high - low + 1))
        match kind:
            case "value":
                return written(a)
            case "range":
                return f"{written(a)}-{written(b) if b != 7 else 7}"
            case "value/step":
                return f"{written(a)}/{step}"
            case "range/step":
                return f"{written(a)}-{written(b) if b != 7 else 7}/{step}"
            case _:
                return f"*/{step}"

    if draw(st.integers(0, 2)) == 0:
        return "*"
    kinds = draw(
        st.lists(st.sampled_from(["value", "range", "value/step", "range/step", "*/step"]), min_size=1, max_size=3)
    )
    return ",".join(item(kind) for kind in kinds)


MONTH_DAYS = st.one_of(st.sampled_from(["L", "l", "LW", "1W", "31w"]), st.integers(1, 31).map(lambda day: f"{day}W"))
DAY_NAMES = st.sampled_from([*"01234567", *WEEKDAYS])
MONTH_WEEKDAYS = st.one_of(
    DAY_NAMES.map(lambda day: f"{day}L"),
    st.tuples(DAY_NAMES, st.integers(1, 5)).map(lambda pair: f"{pair[0]}#{pair[1]}"),
)


@st.composite
def days(draw: st.DrawFn, plain: st.SearchStrategy[str], operators: st.SearchStrategy[str]) -> str:
    items = draw(st.lists(operators, max_size=2))
    rest = draw(st.one_of(st.just("?"), plain))
    return rest if not items else ",".join(items if rest in "*?" else [*items, rest])


DAYS = days(fields(1, 31), MONTH_DAYS)
WEEKDAY_FIELDS = days(fields(0, 6, WEEKDAYS, highest=7), MONTH_WEEKDAYS)
# Mostly near the instants that are asked about, or no year at all would ever match.
YEARS = st.one_of(st.sampled_from(["*", "2020-2030", "2025/2", "2024,2028,2032"]), fields(1970, 2099))


@st.composite
def cron_expressions(draw: st.DrawFn) -> str:
    parts = [
        draw(fields(0, 59)),
        draw(fields(0, 23)),
        draw(DAYS),
        draw(fields(1, 12, MONTHS)),
        draw(WEEKDAY_FIELDS),
    ]
    match draw(st.integers(5, 7)):
        case 6:
            parts.append(draw(YEARS))
        case 7:
            parts = [draw(fields(0, 59)), *parts, draw(YEARS)]
    return draw(st.sampled_from([" ", "\t", "  "])).join(parts)


ABSOLUTE = st.one_of(
    cron_expressions(),
    st.integers(1, 366 * 86_400).map(lambda seconds: f"every {seconds}s"),
    st.sampled_from(["@yearly", "@monthly", "@weekly", "@daily", "@hourly", "@minutely", "every 1w", "every 1h30m"]),
)


@given(cron_expressions(), st.one_of(INSTANTS, NEAR))
@settings(max_examples=200, deadline=None)
@example("0 0 29 2 *", datetime(2023, 3, 1, tzinfo=UTC))
@example("0 0 31 * 5-7", datetime(2026, 1, 31, tzinfo=UTC))
@example("59 59 23 31 12 ? *", datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC))
def test_the_next_slot_is_the_one_a_walk_through_the_calendar_finds(expression: str, after: datetime) -> None:
    expected = CronOracle(expression).next_after(after, HORIZON_DAYS)
    found = parse_schedule(expression).next_after(after)
    if expected is None:
        assert found is None or found >= after + timedelta(days=HORIZON_DAYS - 1)
    else:
        assert found == expected


@given(DAYS, WEEKDAY_FIELDS, st.integers(2023, 2029))
@settings(max_examples=100, deadline=None)
def test_a_walk_meets_exactly_the_days_that_match(day_of_month: str, weekday: str, year: int) -> None:
    expression = f"0 0 {day_of_month} 2-3 {weekday} {year}"
    oracle, schedule = CronOracle(expression), parse_schedule(expression)
    new_year = datetime(year, 1, 1, tzinfo=UTC)
    met = []
    at = schedule.next_after(new_year)
    while at is not None:
        met.append(at)
        at = schedule.next_after(at)
    every_day = [new_year + timedelta(days=n) for n in range(365)]
    assert met == [day for day in every_day if oracle.matches(day)]


@given(cron_expressions(), st.datetimes(datetime(2026, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC)))
@settings(max_examples=60, deadline=None)
def test_a_walk_meets_exactly_the_seconds_that_match(expression: str, start: datetime) -> None:
    """From a slot onwards, so that sparse expressions are met as well."""
    oracle, schedule = CronOracle(expression), parse_schedule(expression)
    slot = schedule.next_after(start.replace(microsecond=0))
    if slot is None:
        return
    begin, end = slot - 30 * SECOND, slot + 600 * SECOND
    every_second = [begin + n * SECOND for n in range(1, 631)]
    expected = [second for second in every_second if oracle.matches(second)]
    met: list[datetime] = []
    at = schedule.next_after(begin)
    while at is not None and at <= end:
        met.append(at)
        at = schedule.next_after(at)
    assert met == expected


@given(ABSOLUTE, st.datetimes(datetime(1, 1, 2), timezones=st.just(UTC)))
@settings(deadline=None)
def test_slots_of_absolute_schedules_are_whole_seconds_strictly_after(text: str, after: datetime) -> None:
    schedule = parse_schedule(text)
    assert schedule.is_absolute
    for _ in range(5):
        slot = schedule.next_after(after)
        if slot is None:
            return
        assert slot > after
        assert (slot.microsecond, slot.tzinfo) == (0, UTC)
        after = slot


@given(ABSOLUTE, INSTANTS, st.data())
@settings(deadline=None)
def test_no_slot_lies_between_an_instant_and_its_next_slot(text: str, after: datetime, data: st.DataObject) -> None:
    """So `next_after` is monotone: whoever asks later gets the same slot or a later one."""
    schedule = parse_schedule(text)
    slot = schedule.next_after(after)
    latest = after + timedelta(days=400) if slot is None else slot - timedelta(microseconds=1)
    between = data.draw(st.datetimes(after.replace(tzinfo=None), latest.replace(tzinfo=None)))
    assert schedule.next_after(between.replace(tzinfo=UTC)) == slot


@given(st.integers(1, 366 * 86_400), INSTANTS)
def test_every_is_a_grid_from_the_first_monday(seconds: int, after: datetime) -> None:
    slot = parse_schedule(f"every {seconds}s").next_after(after)
    assert slot is not None
    since = slot - datetime(1, 1, 1, tzinfo=UTC)
    assert since % timedelta(seconds=seconds) == timedelta(0)
    assert timedelta(0) < slot - after <= timedelta(seconds=seconds)


@given(st.integers(0, 10**15), INSTANTS, st.timedeltas(timedelta(0), timedelta(days=400)))
def test_an_interval_is_never_due_before_its_time_nor_in_the_past(ns: int, rewound: datetime, since: timedelta) -> None:
    slot = parse_schedule(f"with {ns}ns interval").next_after(rewound + since, last_rewind_at=rewound)
    assert slot == max(rewound + max(SECOND, timedelta(microseconds=ns // 1000)), rewound + since)


def refusal_of(text: str) -> ScheduleError | None:
    """Any other error is a bug, and fails the test."""
    try:
        parse_schedule(text, OF_A_JOB).next_after(datetime(2026, 1, 1, tzinfo=UTC))
    except ScheduleError as error:
        return error
    return None


CRONISH = st.text(st.sampled_from(list("0123456789*/,-?LWH#() \t@jansunfri:.xµ\n")), max_size=40)
WORDS = st.lists(
    st.one_of(
        CRONISH,
        st.sampled_from(
            [
                "with",
                "every",
                "at",
                "interval",
                "triggered",
                "continuously",
                "1h",
                "-1s",
                "@daily",
                "*",
                "H(1-5)/2",
                "LW",
                "FRI#2",
                "2026-12-01T09:00:00+01:00",
            ]
        ),
    ),
    max_size=9,
).map(" ".join)


@given(st.one_of(st.text(), CRONISH, WORDS))
@settings(max_examples=300)
@example("9" * 1999)
@example("every " + "9" * 1990 + "d")
@example("with " + "1" * 40 + "." + "1" * 40 + "h interval")
@example("*/" + "9" * 1900 + " * * * *")
@example("\ud800 * * * *")
@example("at 9999-12-31T23:59:59-23:59")
@example("0 0 " + ",".join(["31W"] * 400) + " * *")
def test_any_text_is_a_schedule_or_refused_with_a_reason(text: str) -> None:
    refusal = refusal_of(text)
    assert refusal is None or (str(refusal) and 1 <= (refusal.position or 1) <= len(text) + 1)


@given(cron_expressions(), st.data())
@settings(max_examples=100)
def test_a_damaged_expression_is_read_or_refused_but_never_crashes(expression: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(expression) - 1))
    damaged = expression[:at] + data.draw(st.text(max_size=2)) + expression[at + 1 :]
    refusal = refusal_of(damaged)
    assert refusal is None or str(refusal)


@given(st.timedeltas(timedelta(days=-100_000), timedelta(days=100_000)))
def test_durations_can_be_read_back(duration: timedelta) -> None:
    microseconds = abs(duration) // timedelta(microseconds=1)
    text = f"{'-' if duration < timedelta(0) else ''}{microseconds // 3_600_000_000}h{microseconds % 3_600_000_000}us"
    assert parse_duration(text) == duration


@given(st.text(st.sampled_from(list("0123456789.-+nuµmshdw ")), max_size=30))
def test_any_text_is_a_duration_or_refused(text: str) -> None:
    position = 0
    try:
        parse_duration(text)
    except DurationError as error:
        position = error.position
    assert 0 <= position <= len(text)


def test_the_oracle_itself_is_right_about_a_known_week() -> None:
    oracle = CronOracle("0 0 13 * 5-7")
    found = [day for day in range(1, 15) if oracle.matches(datetime(2026, 1, day, tzinfo=UTC))]
    assert found == [2, 3, 4, 9, 10, 11, 13]


def test_the_oracle_itself_is_right_about_a_known_month() -> None:
    """May 2026 begins on a Friday and ends on a Sunday."""
    oracle = CronOracle("0 0 LW,16W,2W * FRIL,SUN#1")
    found = [day for day in range(1, 32) if oracle.matches(datetime(2026, 5, day, tzinfo=UTC))]
    assert found == [1, 3, 15, 29]


@pytest.mark.parametrize("field", ["7", "07", "0-7", "5-7/2", "7/3"])
def test_the_oracle_takes_seven_for_sunday(field: str) -> None:
    assert CronOracle(f"0 0 * * {field}").matches_day(date(2026, 1, 4))
