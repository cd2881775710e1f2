"""Durations as text: `90s`, `1h30m`, `1.5h`. Exact integer arithmetic in nanoseconds; no floats."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import timedelta
from types import MappingProxyType

_SECOND = 1_000_000_000

UNIT_NANOSECONDS: Mapping[str, int] = MappingProxyType(
    {
        "ns": 1,
        "us": 1_000,
        "µs": 1_000,
        "ms": 1_000_000,
        "s": _SECOND,
        "m": 60 * _SECOND,
        "h": 3_600 * _SECOND,
        "d": 86_400 * _SECOND,
        "w": 604_800 * _SECOND,
    }
)
# What Go's time.ParseDuration reads.
GO_UNITS = ("ns", "us", "µs", "ms", "s", "m", "h")

# The longest a Go duration can be, about 292 years; it also keeps instants within what `datetime` holds.
_MAX_NANOSECONDS = (1 << 63) - 1
_PART = re.compile(r"(?=\.?[0-9])([0-9]{0,30})(?:\.([0-9]{0,30}))?([a-zµ]+)")


class DurationError(ValueError):
    """The message says what is expected; `position` is the 0-based offset in the text."""

    def __init__(self, message: str, position: int) -> None:
        self.position = position
        super().__init__(message)


def parse_duration(text: str, units: Iterable[str] = GO_UNITS) -> timedelta:
    """Reads an optional sign and numbers with units, to the microsecond (the rest is cut off)."""
    nanoseconds = parse_nanoseconds(text, units)
    return timedelta(microseconds=abs(nanoseconds) // 1_000) * (-1 if nanoseconds < 0 else 1)


def parse_nanoseconds(text: str, units: Iterable[str] = GO_UNITS) -> int:
    """As `parse_duration`, exactly."""
    text = text.replace("μ", "µ")  # two Unicode characters for one letter
    sign, start = (-1 if text[:1] == "-" else 1), (1 if text[:1] in ("-", "+") else 0)
    if text[start:] == "0":
        return 0
    total = _sum_parts(text, start, tuple(units))
    if total > _MAX_NANOSECONDS:
        raise DurationError("is longer than 292 years", start)
    return sign * total


def _sum_parts(text: str, start: int, units: tuple[str, ...]) -> int:
    if start == len(text):
        raise DurationError(f"expected {_expected(units)}", start)
    total = 0
    while start < len(text):
        part = _PART.match(text, start)
        if part is None:
            raise DurationError(f"expected {_expected(units)}", start)
        if part[3] not in units:
            raise DurationError(f"unknown unit {part[3]!r}, expected one of {' '.join(units)}", part.start(3))
        total += _part_nanoseconds(part[1] or "0", part[2] or "", UNIT_NANOSECONDS[part[3]])
        start = part.end()
    return total


def _part_nanoseconds(whole: str, fraction: str, unit: int) -> int:
    scale: int = 10 ** len(fraction)
    return int(whole) * unit + int(fraction or "0") * unit // scale


def _expected(units: tuple[str, ...]) -> str:
    return f"a number with a unit ({' '.join(units)}), such as 90s or 1h30m"
