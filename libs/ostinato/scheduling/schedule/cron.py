"""Cron schedules, in UTC. A look-up is a handful of bit operations: microseconds, never a walk through time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import ClassVar

from ostinato.scheduling.schedule.bits import next_bit
from ostinato.scheduling.schedule.cron_days import CronDays
from ostinato.scheduling.schedule.cron_expression import FIRST_YEAR, LAST_YEAR, CronExpression

_BEGINNING = datetime(FIRST_YEAR, 1, 1, tzinfo=UTC)
_ONE_SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class CronSchedule:
    """`hours`, `minutes` and `seconds` are masks of at least one member."""

    text: str
    days: CronDays
    hours: int
    minutes: int
    seconds: int

    is_absolute: ClassVar[bool] = True

    @classmethod
    def compile(cls, text: str, expression: CronExpression) -> CronSchedule:
        return cls(
            text, CronDays.compile(expression), expression.hour.mask, expression.minute.mask, expression.second.mask
        )

    def next_after(self, after: datetime, *, last_rewind_at: datetime | None = None) -> datetime | None:  # noqa: ARG002
        """The first slot strictly after `after`; None if there is none up to the end of 2099."""
        start = after.astimezone(UTC)
        if start.year > LAST_YEAR:
            return None
        start = max(start.replace(microsecond=0) + _ONE_SECOND, _BEGINNING)
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
    return datetime(day.year, day.month, day.day, hour, minute, second, tzinfo=UTC)
