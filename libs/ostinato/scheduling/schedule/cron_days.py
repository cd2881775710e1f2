"""Which days a cron expression means.

Classic crontab: if day of month and day of week are both restricted, a day matches if either does. Days that a
month does not have are skipped.
"""

from __future__ import annotations

from calendar import isleap
from dataclasses import dataclass
from datetime import date

from ostinato.scheduling.schedule.bits import next_bit
from ostinato.scheduling.schedule.cron_expression import FIRST_YEAR, CronExpression

# Days of each month as a mask of bits 1..n; index 0 is unused, index 13 is February of a leap year.
_DAYS_OF_MONTH = tuple(((1 << days) - 1) << 1 for days in (0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31, 29))
# Multiplying seven bits by this repeats them five times.
_WEEK, _FIVE_WEEKS = 0b1111111, sum(1 << 7 * week for week in range(5))
_FEBRUARY, _LEAP_FEBRUARY = 2, 13


@dataclass(frozen=True, slots=True)
class CronDays:
    """`days_by_first[w]` has bit d if day d matches in a month whose first day is weekday w (Sunday 0)."""

    years: int
    months: int
    days_by_first: tuple[int, ...]

    @classmethod
    def compile(cls, expression: CronExpression) -> CronDays:
        days_by_first = tuple(_matching_days(expression, first) for first in range(7))
        # Months that can never match are dropped here, so `0 0 30 2 *` does not search 130 years.
        months = sum(
            1 << month
            for month in range(1, 13)
            if expression.month.mask >> (month - 1) & 1 and any(days & _longest(month) for days in days_by_first)
        )
        return cls(expression.year.mask if months else 0, months, days_by_first)

    def first_from(self, year: int, month: int, day: int) -> date | None:
        """The first matching day not before the given one; `day` may be one past the month's end."""
        while (found := next_bit(self.years, year - FIRST_YEAR)) >= 0:
            if found > year - FIRST_YEAR:
                year, month, day = FIRST_YEAR + found, 1, 1
            match = self._first_in_year(year, month, day)
            if match is not None:
                return match
            year, month, day = year + 1, 1, 1
        return None

    def _first_in_year(self, year: int, month: int, day: int) -> date | None:
        found = next_bit(self.months, month)
        while found >= 0:
            match = next_bit(self._days_in(year, found), day if found == month else 1)
            if match >= 0:
                return date(year, found, match)
            found = next_bit(self.months, found + 1)
        return None

    def _days_in(self, year: int, month: int) -> int:
        first_weekday = date(year, month, 1).isoweekday() % 7
        length = _LEAP_FEBRUARY if month == _FEBRUARY and isleap(year) else month
        return self.days_by_first[first_weekday] & _DAYS_OF_MONTH[length]


def _longest(month: int) -> int:
    return _DAYS_OF_MONTH[_LEAP_FEBRUARY if month == _FEBRUARY else month]


def _matching_days(expression: CronExpression, first_weekday: int) -> int:
    days = expression.day.mask << 1
    week = (expression.weekday.mask >> first_weekday | expression.weekday.mask << 7 - first_weekday) & _WEEK
    weekdays = week * _FIVE_WEEKS << 1
    if expression.day.is_restricted and expression.weekday.is_restricted:
        return days | weekdays
    return days & weekdays
