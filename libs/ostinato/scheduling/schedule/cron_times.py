"""The times on the wall clock that a cron expression means. A look-up is a handful of bit operations."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from ostinato.scheduling.schedule.bits import next_bit
from ostinato.scheduling.schedule.cron_days import CronDays
from ostinato.scheduling.schedule.cron_expression import FIRST_YEAR, LAST_YEAR, CronExpression

_BEGINNING = datetime(FIRST_YEAR, 1, 1)  # noqa: DTZ001  (a wall clock knows no zone)


@dataclass(frozen=True, slots=True)
class CronTimes:
    """`hours`, `minutes` and `seconds` are masks of at least one member. Times are naive, whole seconds."""

    days: CronDays
    hours: int
    minutes: int
    seconds: int

    @classmethod
    def compile(cls, expression: CronExpression) -> CronTimes:
        return cls(CronDays.compile(expression), expression.hour.mask, expression.minute.mask, expression.second.mask)

    def first_from(self, start: datetime) -> datetime | None:
        """The first one not before `start`; None if there is none up to the end of 2099."""
        if start.year > LAST_YEAR:
            return None
        start = max(start, _BEGINNING)
        day = self.days.first_from(start.year, start.month, start.day)
        if day == start.date():
            time = self._first_time(start.hour, start.minute, start.second)
            if time is not None:
                return _combine(day, time)
            day = self.days.first_from(start.year, start.month, start.day + 1)
        return None if day is None else _combine(day, self._first_in_hour(next_bit(self.hours, 0)))

    def _first_time(self, hour: int, minute: int, second: int) -> tuple[int, int, int] | None:
        """The first time of day not before the given one."""
        found = next_bit(self.hours, hour)
        if found < 0:
            return None
        if found > hour:
            return self._first_in_hour(found)
        if self.minutes >> minute & 1:
            match = next_bit(self.seconds, second)
            if match >= 0:
                return hour, minute, match
        match = next_bit(self.minutes, minute + 1)
        if match >= 0:
            return hour, match, next_bit(self.seconds, 0)
        found = next_bit(self.hours, hour + 1)
        return self._first_in_hour(found) if found >= 0 else None

    def _first_in_hour(self, hour: int) -> tuple[int, int, int]:
        return hour, next_bit(self.minutes, 0), next_bit(self.seconds, 0)


def _combine(day: date, time: tuple[int, int, int]) -> datetime:
    hour, minute, second = time
    return datetime(day.year, day.month, day.day, hour, minute, second)  # noqa: DTZ001
