"""What a stanza means, read a second time: which slots it has, which of them start something, how long each waits.

Written without the code under test; slow and obvious.
"""

from __future__ import annotations

from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class SlotOracle:
    """Of a walk between `begin` and `end`."""

    begin: datetime
    end: datetime

    def slots(self, stanza: Stanza, after: datetime, until: datetime) -> list[datetime]:
        """In (after, until]."""
        if stanza["schedule"] == "triggered":
            return []
        found = _slots(stanza["schedule"], stanza["time_zone"], _policies(stanza), self.begin, self.end)
        return [at for at in found if after < at <= until and _is_within(stanza, at)]

    def left_out(self, stanza: Stanza, after: datetime, until: datetime) -> list[datetime]:
        """Likewise: instants that stand for times which the clock leaves out."""
        if stanza.get("gap_policy") != "SKIP":
            return []
        found = _left_out(stanza["schedule"], stanza["time_zone"], self.begin, self.end)
        return [at for at in found if after < at <= until and _is_within(stanza, at) and not in_blackout(stanza, at)]


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


def _policies(stanza: Stanza) -> tuple[str, str]:
    return stanza["gap_policy"], stanza["fold_policy"]


@cache
def _slots(schedule: str, zone: str, policies: tuple[str, str], begin: datetime, end: datetime) -> tuple[datetime, ...]:
    kind, _, rest = schedule.partition(" ")
    if kind == "at":
        return (read_time(rest),)
    if kind == "every":
        period = read_duration(rest)
        first = _BEGINNING + (begin - _BEGINNING) // period * period
        return tuple(first + number * period for number in range((end - first) // period + 1))
    gap, fold = policies
    return tuple(
        zone_oracle.slots_between(
            schedule, zone_oracle.read_zone(zone), begin, end, gap=gap, fold=fold, step=_step(schedule)
        )
    )


@cache
def _left_out(schedule: str, zone: str, begin: datetime, end: datetime) -> tuple[datetime, ...]:
    if schedule.startswith(("at ", "every ")):
        return ()
    read = zone_oracle.read_zone(zone)
    return tuple(zone_oracle.left_out_between(schedule, read, begin, end, step=_step(schedule)))


def _step(schedule: str) -> timedelta:
    """Of which all its times are multiples."""
    return timedelta(seconds=20) if len(schedule.split()) == 7 else _MINUTE
