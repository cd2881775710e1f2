"""What a project config says about schedules: zones, delays, bounds, calendars, and every mistake with its path."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ostinato.errors import InvalidArgument
from ostinato.scheduling.schedule import Blackout, CatchUp, CatchUpPolicy, FoldPolicy, GapPolicy, ScheduleTerms
from ostinato_api.project_config.read_project_config import read_project_config

CALENDARS = """
calendars:
  - id: holidays
    time_zone: Europe/Rome
    days: ["2026-12-25", 2026-12-31/2027-01-02]
  - id: freeze
    periods: [{start_time: 2026-07-01T00:00:00+02:00, end_time: 2026-07-08T00:00:00Z}]
"""


def config(stanza: str, calendars: str = CALENDARS) -> str:
    return f"project: shop\njobs:\n  - {{id: j, noop: {{}}, {stanza}}}\n{calendars}"


def terms(stanza: str, calendars: str = CALENDARS) -> ScheduleTerms:
    (stored,) = read_project_config(config(stanza, calendars)).stanzas
    return stored.definition.terms


def violations(stanza: str, calendars: str = CALENDARS) -> dict[str, str]:
    with pytest.raises(InvalidArgument) as caught:
        read_project_config(config(stanza, calendars))
    return {violation.path: violation.rule for violation in caught.value.violations}


def test_every_field_is_read() -> None:
    stanza = """schedule: "H 3 * * *", time_zone: Europe/Rome, gap_policy: SKIP, fold_policy: BOTH, offset: 5m,
      jitter: 1500ms, start_after: 2026-01-01T00:00:00Z, end_before: "2027-01-01T00:00:00+01:00",
      blackouts: [{start_time: 2026-02-01T00:00:00Z, end_time: 2026-02-02T00:00:00Z}],
      catch_up: {policy: ALL, window: 36h, limit: 20}"""
    assert terms(stanza) == ScheduleTerms(
        time_zone="Europe/Rome",
        gap_policy=GapPolicy.SKIP,
        fold_policy=FoldPolicy.BOTH,
        offset=timedelta(minutes=5),
        jitter=timedelta(milliseconds=1500),
        start_after=datetime(2026, 1, 1, tzinfo=UTC),
        end_before=datetime(2026, 12, 31, 23, tzinfo=UTC),
        blackouts=(Blackout(datetime(2026, 2, 1, tzinfo=UTC), datetime(2026, 2, 2, tzinfo=UTC)),),
        catch_up=CatchUp(CatchUpPolicy.ALL, timedelta(hours=36), 20),
    )


def test_a_job_gets_the_blackouts_of_its_calendars_days_in_their_zone() -> None:
    assert terms("schedule: every 1h, blackout_calendars: [freeze, holidays]").blackouts == (
        Blackout(datetime(2026, 6, 30, 22, tzinfo=UTC), datetime(2026, 7, 8, tzinfo=UTC), "freeze"),
        Blackout(datetime(2026, 12, 24, 23, tzinfo=UTC), datetime(2026, 12, 25, 23, tzinfo=UTC), "holidays"),
        Blackout(datetime(2026, 12, 30, 23, tzinfo=UTC), datetime(2027, 1, 2, 23, tzinfo=UTC), "holidays"),
    )


def test_a_day_whose_midnight_the_clock_leaves_out_begins_when_the_day_does() -> None:
    """In Beirut the clock goes from 00:00 to 01:00."""
    beirut = "calendars: [{id: c, time_zone: Asia/Beirut, days: ['2026-03-29']}]"
    (blackout,) = terms("schedule: every 1h, blackout_calendars: [c]", beirut).blackouts
    assert (blackout.start, blackout.end) == (
        datetime(2026, 3, 28, 22, tzinfo=UTC),
        datetime(2026, 3, 29, 21, tzinfo=UTC),
    )


@pytest.mark.parametrize(
    ("stanza", "path", "fragment"),
    [
        ("schedule: every 1h, time_zone: Mars/Olympus", "time_zone", "IANA time zone such as Europe/Rome"),
        ("schedule: every 1h, time_zone: europe/rome", "time_zone", "not 'europe/rome'"),
        ("schedule: every 1h, gap_policy: BOTH", "gap_policy", "one of SHIFT, SKIP"),
        ("schedule: every 1h, fold_policy: GAP_POLICY_UNSPECIFIED", "fold_policy", "one of FIRST, LAST, BOTH"),
        ("schedule: every 1h, offset: 25h", "offset", "between 0s and 24 hours"),
        ("schedule: every 1h, offset: -1s", "offset", "between 0s and 24 hours"),
        ("schedule: every 1h, jitter: 24h1ms", "jitter", "between 0s and 24 hours"),
        ("schedule: every 1h, jitter: 1us", "jitter", "whole milliseconds"),
        ("schedule: every 1h, start_after: tomorrow", "start_after", "an instant with Z or an offset"),
        ("schedule: every 1h, start_after: 2026-01-01", "start_after", "an instant with Z or an offset"),
        ("schedule: every 1h, start_after: {}", "start_after", "an instant with Z or an offset"),
        ("schedule: every 1h, start_after: 9999-12-31T23:30:00Z", "start_after", "before the year 2100"),
        ("schedule: every 1h, end_before: 2100-01-01T00:00:00Z", "end_before", "before the year 2100"),
        ("schedule: 'at 9999-12-31T23:59:59Z', offset: 24h", "schedule", "before the year 2100"),
        (
            "schedule: every 1h, start_after: 2026-01-01T00:00:00Z, end_before: 2026-01-01T00:00:00Z",
            "end_before",
            "must lie after start_after",
        ),
        ("schedule: every 1h, blackout_calendars: [freeze, frieze]", "blackout_calendars[1]", "no calendar 'frieze'"),
        (
            "schedule: every 1h, blackouts: [{start_time: 2026-01-02T00:00:00Z, end_time: 2026-01-02T00:00:00Z}]",
            "blackouts[0].end_time",
            "must lie after start_time",
        ),
        ("schedule: every 1h, blackouts: [{calendar: freeze}]", "blackouts[0].calendar", "output only"),
        ("schedule: every 1h, start_deadline: 500ms", "start_deadline", "between 1s and 7 days"),
        ("schedule: every 1h, start_deadline: 169h", "start_deadline", "between 1s and 7 days"),
        ("schedule: with 1h interval, start_deadline: 1m", "start_deadline", "for schedules with slots"),
        ("start_deadline: 1m", "start_deadline", "for schedules with slots"),
        ("schedule: with 1h interval, offset: 1s", "offset", "for schedules with slots"),
        ("jitter: 1s", "jitter", "for schedules with slots"),
        ("schedule: continuously, start_after: 2026-01-01T00:00:00Z", "start_after", "for schedules with slots"),
        ("schedule: triggered, blackout_calendars: [freeze]", "blackouts", "for schedules with slots"),
        ("schedule: every 1h, catch_up: {policy: NONE}", "catch_up.policy", "one of SKIP, LATEST, ALL"),
        ("schedule: every 1h, catch_up: {window: 0s}", "catch_up.window", "more than 0s and at most 366 days"),
        ("schedule: every 1h, catch_up: {window: 8784h1s}", "catch_up.window", "more than 0s and at most 366 days"),
        ("schedule: every 1h, catch_up: {policy: ALL, limit: 1001}", "catch_up.limit", "between 1 and 1000"),
        ("schedule: every 1h, catch_up: {policy: ALL, limit: -1}", "catch_up.limit", "between 1 and 1000"),
        ("schedule: every 1h, catch_up: {policy: LATEST, limit: 5}", "catch_up.limit", "is for the policy ALL"),
        ("schedule: with 1h interval, catch_up: {policy: LATEST}", "catch_up", "for schedules with slots"),
        ("catch_up: {policy: ALL}", "catch_up", "for schedules with slots"),
        ("schedule: '0 0 * * L'", "schedule", "column 9"),
        ("schedule: 'at noon'", "schedule", "such as 2026-12-01T09:00:00Z"),
        ("schedule: every 1h, time_zones: UTC", "time_zones", "unknown key"),
        ("schedule: every 1h, next_run_time: 2026-01-02T00:00:00Z", "next_run_time", "unknown key"),
    ],
)
def test_mistakes_in_a_stanza(stanza: str, path: str, fragment: str) -> None:
    found = violations(stanza)
    assert fragment in found[f"jobs[0].{path}"]


@pytest.mark.parametrize(
    ("calendar", "path", "fragment"),
    [
        ("{id: C}", "id", "lower-case letters"),
        ("{}", "id", "lower-case letters"),
        ("{id: c, time_zone: Rome}", "time_zone", "IANA time zone"),
        ("{id: c, days: [xmas]}", "days[0]", "a day such as 2026-12-25"),
        ("{id: c, days: ['2026-02-28', '2026-02-29']}", "days[1]", "a day such as"),
        ("{id: c, days: [2026-12-25/2026-12-24]}", "days[0]", "a day such as"),
        ("{id: c, days: ['1969-12-31']}", "days[0]", "years 1970 to 2099"),
        ("{id: c, periods: [{end_time: 1970-01-01T00:00:00Z}]}", "periods[0].start_time", "is required"),
        ("{id: c, periods: [{calendar: c}]}", "periods[0].calendar", "output only"),
        (
            "{id: c, periods: [{start_time: 2026-01-01T00:00:00Z, end_time: 2025-12-31T00:00:00Z}]}",
            "periods[0].end_time",
            "must lie after start_time",
        ),
        ("{id: c, day: []}", "day", "unknown key"),
    ],
)
def test_mistakes_in_a_calendar(calendar: str, path: str, fragment: str) -> None:
    found = violations("schedule: every 1h", f"calendars: [{calendar}]")
    assert fragment in found[f"calendars[0].{path}"]


def test_an_id_of_a_calendar_is_used_once() -> None:
    found = violations("schedule: every 1h", "calendars: [{id: c}, {id: c}]")
    assert found == {"calendars[1].id": "'c' is already the id of another calendar"}


def test_there_are_no_more_calendars_days_and_blackouts_than_their_limits() -> None:
    many = ", ".join(f"{{id: c{n}}}" for n in range(101))
    assert violations("schedule: every 1h", f"calendars: [{many}]") == {"calendars": "must be at most 100"}
    days = ", ".join(["'2026-01-01'"] * 501)
    assert violations("schedule: every 1h", f"calendars: [{{id: c, days: [{days}]}}]") == {
        "calendars[0].days": "must be at most 500"
    }
    days = ", ".join(["'2026-01-01'"] * 500)
    calendars = f"calendars: [{', '.join(f'{{id: c{n}, days: [{days}]}}' for n in range(3))}]"
    found = violations("schedule: every 1h, blackout_calendars: [c0, c1, c2]", calendars)
    assert "at most 1000" in found["jobs[0].blackouts"]


def test_a_small_file_does_not_become_a_large_project() -> None:
    days = ", ".join(["'2026-01-01'"] * 500)
    jobs = "\n".join(f"  - {{id: j{n}, noop: {{}}, schedule: every 1h, blackout_calendars: [c]}}" for n in range(401))
    text = f"project: shop\ncalendars: [{{id: c, days: [{days}]}}]\njobs:\n{jobs}\n"
    with pytest.raises(InvalidArgument) as caught:
        read_project_config(text)
    assert [violation.path for violation in caught.value.violations] == ["jobs"]


def test_a_start_deadline_is_read() -> None:
    (stanza,) = read_project_config(config("schedule: every 1h, start_deadline: 90s")).stanzas
    assert stanza.definition.start_deadline == timedelta(seconds=90)
