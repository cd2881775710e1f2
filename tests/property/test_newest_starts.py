"""The newest slots of a stretch of time are those that a walk through all of it finds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ostinato.scheduling.schedule import Blackout, ScheduleTerms, Timetable

START = datetime(2026, 3, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
EXPRESSIONS = [
    "*/40 * * * * * *",
    "* * * * *",
    "* 9 * * *",  # a burst each day
    "*/5 0 4 * * * *",
    "0 0 1 * *",
    "0 0 30 2 *",
    "every 90s",
    "at 2026-03-01T05:00:00Z",
]


@settings(max_examples=60, deadline=None)
@given(
    expression=st.sampled_from(EXPRESSIONS),
    first=st.timedeltas(timedelta(0), timedelta(hours=30)),
    length=st.timedeltas(-SECOND, timedelta(hours=30)),
    most=st.sampled_from([1, 2, 7, 100]),
    blackouts=st.lists(st.tuples(st.integers(0, 60 * 60), st.integers(1, 600)), max_size=4),
)
def test_the_newest_starts_are_found_as_by_walking_through_all(
    expression: str, first: timedelta, length: timedelta, most: int, blackouts: list[tuple[int, int]]
) -> None:
    periods = tuple(
        Blackout(START + timedelta(minutes=begin), START + timedelta(minutes=begin + minutes))
        for begin, minutes in blackouts
    )
    table = Timetable.make(expression, ScheduleTerms(blackouts=periods))
    begin, until = START + first, START + first + length
    everything = []
    slot = table.start_after(begin - timedelta(microseconds=1))
    while slot is not None and slot <= until:
        everything.append(slot)
        slot = table.start_after(slot)
    assert table.newest_starts(begin, until, most) == everything[-most:]


WEEK = timedelta(days=7)
EVERY_SECOND = "* * * * * * *"


@pytest.mark.parametrize(
    ("expression", "blackouts"),
    [
        (EVERY_SECOND, ()),
        (EVERY_SECOND, (Blackout(START + timedelta(days=1), START + WEEK + SECOND),)),
        (EVERY_SECOND, tuple(Blackout(START + n * WEEK / 600, START + (n + 0.99) * WEEK / 600) for n in range(600))),
        ("* * * * * MON *", ()),
        ("* 3 4 * * * *", ()),
    ],
)
def test_a_thousand_of_a_week_take_a_few_thousand_look_ups_wherever_they_lie(
    expression: str, blackouts: tuple[Blackout, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    table = Timetable.make(expression, ScheduleTerms(blackouts=blackouts))
    next_after, looked_up = Timetable.next_after, []

    def counted(self: Timetable, after: datetime, **options: Any) -> datetime | None:
        looked_up.append(after)
        return next_after(self, after, **options)

    monkeypatch.setattr(Timetable, "next_after", counted)
    found = table.newest_starts(START, START + WEEK, 1000)
    assert len(found) >= 420
    assert len(looked_up) < 6000
