"""Cron slots around changes of the clock, beside an oracle that asks the standard library for each time.

`make test-zones` takes every zone and every change from 1970 to 2099; CI a sample that is the same each time.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ostinato.scheduling.schedule import CronTerms, FoldPolicy, GapPolicy, parse_schedule
from ostinato.zones import UnknownZoneError, load_zone
from tests.property import zone_oracle

EVERY = os.environ.get("OSTINATO_TEST_EVERY_ZONE") == "1"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
END = datetime(2099, 12, 30, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
POLICIES = [
    (GapPolicy.SHIFT, FoldPolicy.FIRST),
    (GapPolicy.SKIP, FoldPolicy.LAST),
    (GapPolicy.SHIFT, FoldPolicy.BOTH),
]
# By half an hour, by two and three hours, by a whole day, from an offset in seconds, winter time as the exception.
SPECIAL = [
    "Africa/Casablanca",
    "Africa/Monrovia",
    "America/New_York",
    "Antarctica/Casey",
    "Antarctica/Troll",
    "Asia/Pyongyang",
    "Australia/Lord_Howe",
    "Europe/Dublin",
    "Pacific/Apia",
    "Pacific/Kwajalein",
]


def sampled_zones() -> list[str]:
    """Those that are links have the same file."""
    by_data = {zone_oracle.zone_data(name): name for name in zone_oracle.zone_names()}
    names = sorted(by_data.values())
    return names if EVERY else sorted({*SPECIAL, *Random(7).sample(names, 6)})


def changes_of(name: str) -> list[datetime]:
    starts = load_zone(name).starts[1:]
    return [at for at in (EPOCH + timedelta(seconds=start) for start in starts) if EPOCH < at < END]


def sampled_changes(name: str) -> list[datetime]:
    found = changes_of(name)
    return found if EVERY else Random(name).sample(found, min(3, len(found)))


def expressions_around(change: datetime, name: str) -> Iterator[str]:
    """All hours, written out; any hour; and times that only the night of the change has."""
    zone = zone_oracle.read_zone(name)
    before, after = (change - timedelta(seconds=1)).astimezone(zone), change.astimezone(zone)
    yield "*/10 0-23 * * *"
    yield "*/10 * * * *"
    yield f"*/10 {before.hour},{after.hour} {before.day},{after.day} {before.month},{after.month} * {before.year}"


@pytest.mark.timeout(3600 if EVERY else 60)
@pytest.mark.parametrize("name", sampled_zones())
def test_slots_around_changes_of_the_clock_are_those_of_the_oracle(name: str) -> None:
    zone = zone_oracle.read_zone(name)
    for change in sampled_changes(name):
        shift = abs(zone_oracle.offset_at(zone, change) - zone_oracle.offset_at(zone, change - timedelta(seconds=1)))
        begin, end = change - shift - HOUR, change + shift + HOUR
        for index, expression in enumerate(expressions_around(change, name)):
            for gap, fold in POLICIES if EVERY else [POLICIES[(index + change.day) % 3]]:
                expected = zone_oracle.slots_between(
                    expression, zone, begin, end, gap=gap.name, fold=fold.name, step=10 * MINUTE
                )
                schedule = parse_schedule(expression, CronTerms(load_zone(name), gap, fold))
                met: list[datetime] = []
                at = schedule.next_after(begin - timedelta(microseconds=1))
                while at is not None and at <= end:
                    assert not met or at > met[-1]
                    met.append(at)
                    at = schedule.next_after(at)
                assert met == expected, (name, change, expression, gap, fold)


@pytest.mark.timeout(3600 if EVERY else 60)
@pytest.mark.parametrize("name", sampled_zones() if EVERY else ["Europe/Rome", "Pacific/Apia"])
def test_a_loaded_zone_has_the_changes_that_a_look_at_each_day_finds(name: str) -> None:
    found = zone_oracle.changes(zone_oracle.read_zone(name), EPOCH, END)
    assert changes_of(name) == list(found)


ZONES = st.sampled_from(["America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "Europe/Dublin", "Asia/Tokyo"])
EXPRESSIONS = st.sampled_from(
    ["30 2 * * *", "15 1 * * *", "0 0 1 * *", "0,30 1-3 * * SUN", "*/20 * * * *", "0 12 LW * *", "59 23 L * *"]
)


@given(
    EXPRESSIONS,
    ZONES,
    st.sampled_from(POLICIES),
    st.datetimes(datetime(1971, 1, 1), datetime(2099, 1, 1), timezones=st.just(UTC)),
    st.data(),
)
@settings(max_examples=40)
def test_no_slot_lies_between_an_instant_and_its_next_slot(
    expression: str, name: str, policies: tuple[GapPolicy, FoldPolicy], after: datetime, data: st.DataObject
) -> None:
    schedule = parse_schedule(expression, CronTerms(load_zone(name), *policies))
    slot = schedule.next_after(after)
    assert slot is not None
    assert slot > after
    between = data.draw(
        st.datetimes(after.replace(tzinfo=None), (slot - timedelta(microseconds=1)).replace(tzinfo=None))
    )
    assert schedule.next_after(between.replace(tzinfo=UTC)) == slot


def test_the_oracle_itself_knows_a_gap_and_a_fold() -> None:
    zone = zone_oracle.read_zone("America/New_York")
    assert zone_oracle.instants_of(zone, datetime(2026, 3, 8, 2, 30)) == []
    assert zone_oracle.end_of_gap(zone, datetime(2026, 3, 8, 2, 30)) == datetime(2026, 3, 8, 7, tzinfo=UTC)
    assert zone_oracle.instants_of(zone, datetime(2026, 11, 1, 1, 30)) == [
        datetime(2026, 11, 1, 5, 30, tzinfo=UTC),
        datetime(2026, 11, 1, 6, 30, tzinfo=UTC),
    ]


@pytest.mark.parametrize("name", ["", "Europe", "europe/rome", "../zones", "Europe/Rom\0", "/etc/localtime", "x" * 999])
def test_what_is_no_zone_is_refused(name: str) -> None:
    with pytest.raises(UnknownZoneError, match="such as Europe/Rome"):
        load_zone(name)
