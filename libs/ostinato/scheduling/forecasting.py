"""How many starts schedules bring, minute by minute, and which minutes many of them meet in. Pure.

A start counts in the minute in which its slot is due, with offset and jitter. Only schedules with slots can be
foretold: when relative ones start follows from the ends of runs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from ostinato.scheduling.schedule import CronSchedule, EverySchedule, Timetable
from ostinato.scheduling.schedule.cron_expression import ALIASES

# A minute is hot from so many starts on, and from so many times the mean of the rest of its hour.
HOT_STARTS = 10
HOT_RATIO = 5
# So many slots are looked at: a few seconds' work.
MAX_SLOTS = 300_000
_MINUTE, _HOUR = timedelta(minutes=1), timedelta(hours=1)
_INSTANT = timedelta(microseconds=1)
_NUMBER = re.compile(r"[0-9]+")


class TooManySlotsError(ValueError):
    """The schedules have more slots than are looked at."""


@dataclass(frozen=True, slots=True)
class ForecastJobs:
    """Jobs that share a timetable. `names` in order."""

    timetable: Timetable
    names: Sequence[str]


@dataclass(frozen=True, slots=True)
class HotMinute:
    """`usual`: the mean of the other minutes of its hour."""

    at: datetime
    starts: int
    usual: float


def count_starts(groups: Sequence[ForecastJobs], start: datetime, end: datetime) -> list[int]:
    """Of each minute of [start, end), both whole minutes. Raises TooManySlotsError."""
    counts = [0] * ((end - start) // _MINUTE)
    seen = 0
    for group in groups:
        for due_at in _due_times(group.timetable, start, end):
            seen += 1
            if seen > MAX_SLOTS:
                raise TooManySlotsError
            if start <= due_at < end:
                counts[(due_at - start) // _MINUTE] += len(group.names)
    return counts


def find_hot_minutes(counts: Sequence[int], start: datetime, *, most: int) -> list[HotMinute]:
    """The hottest of them, in order of time. `start` is a whole minute; hours are cut where the counts end."""
    hot = [found for index in range(len(counts)) if (found := _as_hot(counts, start, index)) is not None]
    hottest = sorted(hot, key=lambda minute: (-minute.starts, minute.at))[:most]
    return sorted(hottest, key=lambda minute: minute.at)


def due_within(groups: Sequence[ForecastJobs], minute: datetime) -> list[ForecastJobs]:
    """Those with a start in that minute. What jitter spreads is left out: it is there by chance."""
    return [
        group
        for group in groups
        if not group.timetable.delay.jitter and any(True for _ in _due_times(group.timetable, minute, minute + _MINUTE))
    ]


def suggest_hash(timetable: Timetable) -> str | None:
    """The expression with `H` for the minute, where that moves each start within its hour or part of an hour only."""
    if timetable.delay.jitter:
        return None
    match timetable.schedule:
        case CronSchedule(text=text):
            return _hash_minute(text)
        case EverySchedule(period=period) if period == _HOUR or (_HOUR % period == timedelta(0) and period > _MINUTE):
            return "H * * * *" if period == _HOUR else _hash_every(period)
        case _:
            return None


def _due_times(timetable: Timetable, start: datetime, end: datetime) -> Iterator[datetime]:
    """Of slots that can be due in [start, end), and perhaps of some that are not."""
    slot = timetable.start_after(start - timetable.delay.longest - _INSTANT)
    while slot is not None and slot + timetable.delay.offset < end:
        yield timetable.delay.due_time(slot)
        slot = timetable.start_after(slot)


def _as_hot(counts: Sequence[int], start: datetime, index: int) -> HotMinute | None:
    starts = counts[index]
    if starts < HOT_STARTS:
        return None
    first = index - (start + index * _MINUTE).minute
    hour = counts[max(0, first) : first + 60]
    usual = (sum(hour) - starts) / max(1, len(hour) - 1)
    return HotMinute(start + index * _MINUTE, starts, usual) if starts >= HOT_RATIO * usual else None


def _hash_every(period: timedelta) -> str | None:
    minutes, rest = divmod(period, _MINUTE)
    return None if rest else f"H/{minutes} * * * *"


def _hash_minute(text: str) -> str | None:
    words = ALIASES.get(text.strip().lower(), text).split()
    place = 1 if len(words) == 7 else 0
    minute = _hashed(words[place])
    return None if minute is None else " ".join([*words[:place], minute, *words[place + 1 :]])


def _hashed(minute: str) -> str | None:
    """`0` is H; what comes every n minutes, all around the hour, is H/n."""
    if _NUMBER.fullmatch(minute):
        return "H"
    base, slash, step = minute.partition("/")
    if slash and "," not in minute:
        begin, distance = (0 if base == "*" else int(base) if _NUMBER.fullmatch(base) else 60), int(step)
        return f"H/{distance}" if 1 < distance < 60 and 60 % distance == 0 and begin < distance else None
    values = minute.split(",")
    if not all(_NUMBER.fullmatch(value) for value in values):
        return None
    distance, rest = divmod(60, len(values))
    wanted = {int(values[0]) % max(1, distance) + number * distance for number in range(len(values))}
    return f"H/{distance}" if not rest and distance > 1 and {int(value) for value in values} == wanted else None
