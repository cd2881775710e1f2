"""What a stanza means, read a second time: which slots it has, which of them start something, how long each waits.

Written without the code under test; slow and obvious.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from tests.property import zone_oracle

Stanza = dict[str, Any]
_UNITS = {"s": 1, "m": 60, "h": 3600}
_BEGINNING = datetime(1, 1, 1, tzinfo=UTC)
_MINUTE = timedelta(minutes=1)


def read_duration(text: str) -> timedelta:
    return timedelta(seconds=int(text[:-1]) * _UNITS[text[-1]])


def read_time(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)


def offset_of(stanza: Stanza) -> timedelta:
    return read_duration(stanza.get("offset", "0s"))


def longest_delay(stanza: Stanza) -> timedelta:
    return offset_of(stanza) + read_duration(stanza.get("jitter", "0s"))


def makes_up(stanza: Stanza) -> bool:
    """Its slots during a pause are those of the resume."""
    policy: str = stanza.get("catch_up", {}).get("policy", "SKIP")
    return policy != "SKIP"


class SlotOracle:
    """Of a walk between `begin` and `end`."""

    def __init__(self, begin: datetime, end: datetime) -> None:
        self.begin = begin
        self.end = end
        self._slots = cache(self._find_slots)
        self._gaps = cache(self._find_gaps)

    def slots(self, stanza: Stanza, after: datetime, until: datetime) -> list[datetime]:
        """In (after, until]."""
        if stanza["schedule"] == "triggered":
            return []
        found = self._slots(stanza["schedule"], stanza["time_zone"], stanza["gap_policy"], stanza["fold_policy"])
        return [at for at in found if after < at <= until and _is_within(stanza, at)]

    def left_out(self, stanza: Stanza, after: datetime, until: datetime) -> list[datetime]:
        """Likewise: instants that stand for times which the clock leaves out."""
        if stanza.get("gap_policy") != "SKIP":
            return []
        found = self._gaps(stanza["schedule"], stanza["time_zone"])
        return [at for at in found if after < at <= until and _is_within(stanza, at) and not in_blackout(stanza, at)]

    def _find_slots(self, schedule: str, zone: str, gap: str, fold: str) -> list[datetime]:
        kind, _, rest = schedule.partition(" ")
        if kind == "at":
            return [read_time(rest)]
        if kind == "every":
            period = read_duration(rest)
            first = _BEGINNING + (self.begin - _BEGINNING) // period * period
            return [first + number * period for number in range((self.end - first) // period + 1)]
        read = zone_oracle.read_zone(zone)
        step = _step(schedule)
        return zone_oracle.slots_between(schedule, read, self.begin, self.end, gap=gap, fold=fold, step=step)

    def _find_gaps(self, schedule: str, zone: str) -> list[datetime]:
        if schedule.startswith(("at ", "every ")):
            return []
        read = zone_oracle.read_zone(zone)
        return zone_oracle.left_out_between(schedule, read, self.begin, self.end, step=_step(schedule))


def in_blackout(stanza: Stanza, at: datetime) -> bool:
    return any(
        read_time(blackout["start_time"]) <= at < read_time(blackout["end_time"])
        for blackout in stanza.get("blackouts", ())
    )


def _is_within(stanza: Stanza, at: datetime) -> bool:
    return not (
        ("start_after" in stanza and at <= read_time(stanza["start_after"]))
        or ("end_before" in stanza and at >= read_time(stanza["end_before"]))
    )


def _step(schedule: str) -> timedelta:
    """Of which all its times are multiples."""
    return timedelta(seconds=20) if len(schedule.split()) == 7 else _MINUTE
