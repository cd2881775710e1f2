"""What the terms of a job make of its schedule."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from ostinato.scheduling.occurrence import OccurrenceOutcome
from ostinato.scheduling.schedule import Blackout, GapPolicy, ScheduleError, ScheduleTerms, Timetable
from ostinato.scheduling.schedule.slot_preview import preview_slots
from ostinato.scheduling.schedule.timetable import PassedOver, Plan
from ostinato.zones import load_zone

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
NAME = "projects/p/jobs/j"


def hourly(**terms: object) -> Timetable:
    return Timetable.make("0 * * * *", ScheduleTerms(**terms), job_name=NAME)  # type: ignore[arg-type]


def new_york(**terms: object) -> Timetable:
    given = ScheduleTerms(time_zone="America/New_York", **terms)  # type: ignore[arg-type]
    return Timetable.make("30 2 * * *", given, zone=load_zone("America/New_York"))


def test_a_slot_is_due_an_offset_later_and_stays_what_it_is() -> None:
    assert hourly(offset=90 * MINUTE).plan_after(NOON) == Plan(NOON + HOUR, NOON + HOUR + 90 * MINUTE)


def test_jitter_is_a_hash_of_job_and_slot_in_milliseconds() -> None:
    digest = hashlib.sha256(b"projects/p/jobs/j\njitter\n2026-03-01T13:00:00Z").digest()
    expected = timedelta(milliseconds=int.from_bytes(digest[:8], "big") % 60_001)
    assert hourly(jitter=MINUTE, offset=SECOND).due_time(NOON + HOUR) == NOON + HOUR + SECOND + expected


def test_jitter_differs_from_slot_to_slot_and_stays_within_its_bound() -> None:
    table = hourly(jitter=MINUTE)
    found = [table.due_time(NOON + n * HOUR) - (NOON + n * HOUR) for n in range(300)]
    assert all(timedelta(0) <= delay <= MINUTE for delay in found)
    assert len(set(found)) > 290
    assert min(found) < 2 * SECOND
    assert max(found) > 58 * SECOND


def test_slots_lie_strictly_between_start_after_and_end_before() -> None:
    table = hourly(start_after=NOON + HOUR, end_before=NOON + 4 * HOUR)
    slots = preview_slots(table, NOON, None, 10).slots
    assert slots == [NOON + 2 * HOUR, NOON + 3 * HOUR]


def test_slots_in_blackouts_start_nothing_and_ends_are_outside() -> None:
    table = hourly(
        blackouts=(
            Blackout(NOON + 4 * HOUR, NOON + 5 * HOUR),
            Blackout(NOON + HOUR, NOON + 2 * HOUR),
            Blackout(NOON + 90 * MINUTE, NOON + 3 * HOUR),
        )
    )
    assert [NOON + n * HOUR for n in (3, 5, 6)] == preview_slots(table, NOON, None, 3).slots
    assert table.plan_after(NOON) == Plan(NOON + HOUR, NOON + 3 * HOUR)
    assert list(table.passed_over(NOON + HOUR, NOON + 5 * HOUR)) == [
        PassedOver(NOON + HOUR, NOON + 3 * HOUR, OccurrenceOutcome.SKIPPED_BLACKOUT),
        PassedOver(NOON + 4 * HOUR, NOON + 5 * HOUR, OccurrenceOutcome.SKIPPED_BLACKOUT),
    ]


def test_a_blackout_inside_another_does_not_cut_that_short() -> None:
    table = hourly(blackouts=(Blackout(NOON, NOON + 9 * HOUR), Blackout(NOON + HOUR, NOON + 2 * HOUR)))
    assert table.start_after(NOON) == NOON + 9 * HOUR


def test_what_lies_in_a_blackout_to_the_end_of_its_slots_has_its_outcome_when_that_ends() -> None:
    table = hourly(end_before=NOON + 2 * HOUR, blackouts=(Blackout(NOON, NOON + 9 * HOUR),))
    assert table.plan_after(NOON) == Plan(NOON + HOUR, NOON + 9 * HOUR)


def test_a_time_that_a_gap_leaves_out_is_planned_for_its_outcome_and_due_with_the_next_slot() -> None:
    table = new_york(gap_policy=GapPolicy.SKIP)
    gap, following = datetime(2026, 3, 8, 7, tzinfo=UTC), datetime(2026, 3, 9, 6, 30, tzinfo=UTC)
    assert table.plan_after(datetime(2026, 3, 7, 12, tzinfo=UTC)) == Plan(gap, following)
    assert list(table.passed_over(gap, following)) == [PassedOver(gap, None, OccurrenceOutcome.SKIPPED_DST_GAP)]
    assert new_york().plan_after(datetime(2026, 3, 7, 12, tzinfo=UTC)) == Plan(gap, gap)


def test_a_gap_inside_a_blackout_or_outside_of_the_bounds_is_no_news() -> None:
    gap = datetime(2026, 3, 8, 7, tzinfo=UTC)
    for terms in (
        {"blackouts": (Blackout(gap - HOUR, gap + HOUR),)},
        {"start_after": gap},
        {"end_before": gap},
    ):
        table = new_york(gap_policy=GapPolicy.SKIP, **terms)
        assert list(table.left_out(gap - 24 * HOUR, gap + 24 * HOUR)) == []


def test_tables_have_the_same_slots_if_only_delays_and_names_differ() -> None:
    blackout = Blackout(NOON, NOON + HOUR)
    table = hourly(blackouts=(blackout,))
    assert table.has_same_slots(hourly(offset=HOUR, jitter=MINUTE, blackouts=(replace(blackout, calendar="c"),)))
    for other in (hourly(), hourly(blackouts=(blackout,), start_after=NOON), Timetable.make("5 * * * *")):
        assert not table.has_same_slots(other)


@pytest.mark.parametrize(
    "text", ["at 2026-12-01T09:00:00Z", "at 2026-12-01t10:00:00+01:00", " at  2026-11-30T23:00:00-10:00 "]
)
def test_at_is_one_instant(text: str) -> None:
    table = Timetable.make(text)
    assert table.next_after(NOON) == datetime(2026, 12, 1, 9, tzinfo=UTC)
    assert table.next_after(datetime(2026, 12, 1, 9, tzinfo=UTC)) is None
    assert table.is_absolute


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("at", 1),
        ("at noon", 4),
        ("at 2026-12-01", 4),
        ("at 2026-12-01T09:00:00", 4),
        ("at 2026-12-01T09:00Z", 4),
        ("at 2026-12-01T09:00:00.5Z", 4),
        ("at 2026-13-01T09:00:00Z", 4),
        ("at 2026-12-01T09:00:60Z", 4),
        ("at 0001-01-01T00:00:00+10:00", 4),
        ("at 2026-12-01 09:00:00Z", 15),
        ("at ٢026-12-01T09:00:00Z", 4),
    ],
)
def test_what_at_does_not_take(text: str, position: int) -> None:
    with pytest.raises(ScheduleError, match="2026-12-01T09:00:00Z") as caught:
        Timetable.make(text)
    assert caught.value.position == position


def test_a_preview_tells_what_the_clock_and_blackouts_do() -> None:
    start = datetime(2026, 3, 6, tzinfo=UTC)
    blackout = Blackout(datetime(2026, 3, 10, tzinfo=UTC), datetime(2026, 3, 12, tzinfo=UTC))
    shifted = preview_slots(new_york(blackouts=(blackout,)), start, None, 5)
    assert [f"{slot:%d %H:%M}" for slot in shifted.slots] == [
        "06 07:30",
        "07 07:30",
        "08 07:00",
        "09 06:30",
        "12 06:30",
    ]
    assert [(f"{note.at:%d %H:%M}", note.kind) for note in shifted.notes] == [
        ("08 07:00", "GAP_SHIFTED"),
        ("10 06:30", "BLACKOUT"),
    ]
    assert shifted.notes[1].until == blackout.end
    skipped = preview_slots(new_york(gap_policy=GapPolicy.SKIP), start, start + timedelta(days=3), 5)
    assert [f"{slot:%d %H:%M}" for slot in skipped.slots] == ["06 07:30", "07 07:30"]
    assert [(f"{note.at:%d %H:%M}", note.kind) for note in skipped.notes] == [("08 07:00", "GAP_SKIPPED")]


def test_a_preview_tells_the_turns_of_a_fold() -> None:
    table = Timetable.make(
        "30 * * * *", ScheduleTerms(time_zone="America/New_York"), zone=load_zone("America/New_York")
    )
    preview = preview_slots(table, datetime(2026, 11, 1, 4, tzinfo=UTC), None, 4)
    assert [(f"{note.at:%H:%M}", note.kind) for note in preview.notes] == [
        ("05:30", "FOLD_FIRST"),
        ("06:30", "FOLD_LAST"),
    ]
    assert "01:30:00 twice" in preview.notes[0].text
