"""When times on the wall clock come in a zone: one by one, by what the standard library says of folds and gaps."""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from zoneinfo import ZoneInfo

from tests.property.cron_oracle import CronOracle

SECOND, HOUR, DAY = timedelta(seconds=1), timedelta(hours=1), timedelta(days=1)


def zone_data(name: str) -> bytes:
    return files("tzdata").joinpath("zoneinfo", *name.split("/")).read_bytes()


def zone_names() -> list[str]:
    return sorted((files("tzdata") / "zones").read_text().split())


def read_zone(name: str) -> ZoneInfo:
    return ZoneInfo.from_file(io.BytesIO(zone_data(name)), key=name)


def offset_at(zone: ZoneInfo, at: datetime) -> timedelta:
    offset = at.astimezone(zone).utcoffset()
    assert offset is not None
    return offset


def change_between(zone: ZoneInfo, before: datetime, after: datetime) -> datetime:
    """The first second with the offset of `after`; there is one change between."""
    while after - before > SECOND:
        middle = before + (after - before) // 2 // SECOND * SECOND
        if offset_at(zone, middle) == offset_at(zone, after):
            after = middle
        else:
            before = middle
    return after


def changes(zone: ZoneInfo, start: datetime, end: datetime) -> Iterator[datetime]:
    """Every change of the offset, by a look at it twice a day."""
    at, offset = start, offset_at(zone, start)
    while at < end:
        later = at + DAY / 2
        after = offset_at(zone, later)
        if after != offset:
            yield change_between(zone, at, later)
        at, offset = later, after


def instants_of(zone: ZoneInfo, wall: datetime) -> list[datetime]:
    """Two in a fold, none in a gap."""
    found = {wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1)}
    return sorted(at for at in found if at.astimezone(zone).replace(tzinfo=None, fold=0) == wall)


def end_of_gap(zone: ZoneInfo, wall: datetime) -> datetime:
    """The first instant after the gap that leaves out `wall`."""
    early, late = sorted(wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    return change_between(zone, early - SECOND, late)


def slots_between(
    expression: str, zone: ZoneInfo, begin: datetime, end: datetime, *, gap: str, fold: str, step: timedelta
) -> list[datetime]:
    """Slots in [begin, end] of an expression whose times are multiples of `step` on the wall clock."""
    oracle = CronOracle(expression)
    if oracle.hour == "*":
        gap, fold = "SKIP", "BOTH"
    found: set[datetime] = set()
    for wall in _walls(oracle, zone, begin, end, step):
        instants = instants_of(zone, wall)
        if not instants and gap == "SHIFT":
            found.add(end_of_gap(zone, wall))
        found.update({"FIRST": instants[:1], "LAST": instants[-1:], "BOTH": instants}[fold])
    return sorted(at for at in found if begin <= at <= end)


def left_out_between(
    expression: str, zone: ZoneInfo, begin: datetime, end: datetime, *, step: timedelta
) -> list[datetime]:
    """Where gaps in [begin, end] end that leave out a time of the expression, if its hours are restricted."""
    oracle = CronOracle(expression)
    if oracle.hour == "*":
        return []
    left_out = (wall for wall in _walls(oracle, zone, begin, end, step) if not instants_of(zone, wall))
    found = {end_of_gap(zone, wall) for wall in left_out}
    return sorted(at for at in found if begin <= at <= end)


def _walls(oracle: CronOracle, zone: ZoneInfo, begin: datetime, end: datetime, step: timedelta) -> Iterator[datetime]:
    """Times that match among those that the clock shows in [begin, end], and some hours around them."""
    offsets = [offset_at(zone, at) for at in (begin - DAY, begin, end, end + DAY)]
    around = max(offsets) - min(offsets) + 3 * HOUR
    wall = (begin + min(offsets) - around).replace(minute=0, second=0, microsecond=0, tzinfo=None)
    while wall < (end + max(offsets) + around).replace(tzinfo=None):
        if oracle.matches(wall):
            yield wall
        wall += step
