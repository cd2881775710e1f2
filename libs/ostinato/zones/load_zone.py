"""Reads zones from the `tzdata` wheel, each once."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.resources import files
from zoneinfo import ZoneInfo

import tzdata

from ostinato.scheduling.schedule.zone import Zone

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ONE_SECOND = timedelta(seconds=1)
_FIRST, _LAST = (datetime(1969, 12, 1, tzinfo=UTC) - _EPOCH, datetime(2100, 2, 1, tzinfo=UTC) - _EPOCH)
_BEGIN, _END = _FIRST // _ONE_SECOND, _LAST // _ONE_SECOND
# Summer and winter time that follow a rule last longer.
_STEP = 21 * 86_400
_HEADER = struct.Struct(">4s1s15x6l")


class UnknownZoneError(ValueError):
    """The wheel has no zone of that name."""


def tzdata_version() -> str:
    """Such as `2026f`."""
    return str(tzdata.IANA_VERSION)


@cache
def _names() -> frozenset[str]:
    return frozenset((files("tzdata") / "zones").read_text(encoding="ascii").split())


def load_zone(name: str) -> Zone:
    """Takes some milliseconds the first time, and blocks. Raises UnknownZoneError."""
    # Only names from the list become paths.
    if name not in _names():
        raise UnknownZoneError(f"must be an IANA time zone such as Europe/Rome, not {name[:100]!r}")
    return _load(name)


@cache
def _load(name: str) -> Zone:
    data = files("tzdata").joinpath("zoneinfo", *name.split("/")).read_bytes()
    zone = ZoneInfo.from_file(io.BytesIO(data), key=name)
    listed = [at for at in _listed_changes(data) if _BEGIN < at < _END]
    first = offset = _offset_at(zone, _BEGIN)
    changes: list[tuple[int, int]] = []
    for at in [*listed, *_ruled_changes(zone, max([_BEGIN, *listed]))]:
        after = _offset_at(zone, at)
        if after != offset:
            changes.append((at, after))
            offset = after
    return Zone.make(name, first, changes)


def _listed_changes(data: bytes) -> Iterator[int]:
    """The instants that the file lists (RFC 8536), in the second of its two parts, which has 64 bits for each."""
    size = _HEADER.size
    _, _, *counts = _HEADER.unpack_from(data)
    of_utc, of_standard, leaps, times, types, characters = counts
    second = size + 5 * times + 6 * types + characters + 8 * leaps + of_standard + of_utc
    *_, times, _, _ = _HEADER.unpack_from(data, second)
    yield from struct.unpack_from(f">{times}q", data, second + size)


def _ruled_changes(zone: ZoneInfo, start: int) -> Iterator[int]:
    """What the rule at the end of the file says for the years behind its list."""
    before = _offset_at(zone, start)
    while start < _END:
        end = start + _STEP
        after = _offset_at(zone, end)
        if before != after:
            yield _change_between(zone, start, end)
        start, before = end, after


def _change_between(zone: ZoneInfo, before: int, after: int) -> int:
    """The first second of the new offset."""
    old = _offset_at(zone, before)
    while after - before > 1:
        middle = (before + after) // 2
        if _offset_at(zone, middle) == old:
            before = middle
        else:
            after = middle
    return after


def _offset_at(zone: ZoneInfo, at: int) -> int:
    offset = (_EPOCH + timedelta(seconds=at)).astimezone(zone).utcoffset()
    assert offset is not None, "every zone has one"
    return offset // _ONE_SECOND
