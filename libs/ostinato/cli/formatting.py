"""Texts for people: instants in UTC, durations at a glance, names as one types them, nothing that steers a terminal."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from google.protobuf.message import Message

_SECOND, _MINUTE, _HOUR, _DAY = (timedelta(seconds=seconds) for seconds in (1, 60, 3600, 86400))
# C0 and C1 controls but for the tab; a log may hold sequences that move the cursor or rename the window.
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")


def find_time(message: Message, field: str) -> datetime | None:
    """The instant in a field that may be absent."""
    return getattr(message, field).ToDatetime(tzinfo=UTC) if message.HasField(field) else None


def format_time(at: datetime | None) -> str:
    """`2026-11-20T12:00:00Z`; empty for None."""
    return f"{at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='seconds')}Z" if at else ""


def time_of(message: Message, field: str) -> str:
    return format_time(find_time(message, field))


def format_duration(length: timedelta) -> str:
    """`40ms`, `3.2s`, `42s`, `5m 03s`, `2h 05m`, `3d 04h`."""
    if length < timedelta(0):
        return "-" + format_duration(-length)
    if length < _SECOND:
        return f"{length // timedelta(milliseconds=1)}ms"
    if length < 10 * _SECOND:
        return f"{length // timedelta(milliseconds=100) / 10:g}s"
    if length < _MINUTE:
        return f"{length // _SECOND}s"
    for unit, name, smaller, smaller_name in (
        (_DAY, "d", _HOUR, "h"),
        (_HOUR, "h", _MINUTE, "m"),
        (_MINUTE, "m", _SECOND, "s"),
    ):
        if length >= unit:
            return f"{length // unit}{name} {length % unit // smaller:02}{smaller_name}"
    raise AssertionError("unreachable")


def short_name(name: str) -> str:
    """`projects/shop/jobs/nightly/invocations/7` as one types it: `shop/nightly/7`."""
    return "/".join(name.split("/")[1::2])


def printable(text: str) -> str:
    """`text` with control characters spelt out."""
    return _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", text)
