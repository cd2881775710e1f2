"""Which days a cron expression means.

Classic crontab: if day of month and day of week are both restricted, a day matches if either does. Days that a
month does not have are skipped.
"""

from __future__ import annotations

from calendar import isleap
from dataclasses import dataclass
from datetime import date

from ostinato.scheduling.schedule.bits import next_bit
from ostinato.scheduling.schedule.cron_expression import FIRST_YEAR, LAST_YEAR, CronExpression
from ostinato.scheduling.schedule.cron_field import ParsedField
from ostinato.scheduling.schedule.month_shape import MonthShape

_LENGTHS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_FEBRUARY = 2
_SHAPES = tuple(MonthShape(first, length) for length in range(28, 32) for first in range(7))


def _shapes_of(year: int) -> tuple[int, ...]:
    """By month, January first, the index of its shape."""
    lengths = (length + (month == _FEBRUARY and isleap(year)) for month, length in enumerate(_LENGTHS, 1))
    firsts = (date(year, month, 1).isoweekday() % 7 for month in range(1, 13))
    return tuple(7 * (length - 28) + first for length, first in zip(lengths, firsts, strict=True))


_SHAPES_OF_YEARS = tuple(_shapes_of(year) for year in range(FIRST_YEAR, LAST_YEAR + 1))
# There are no more than fourteen kinds of years. Of each: the shapes of its months, and which years are of it.
_KINDS = {
    shapes: sum(1 << index for index, of_year in enumerate(_SHAPES_OF_YEARS) if of_year == shapes)
    for shapes in set(_SHAPES_OF_YEARS)
}
# Multiplying seven bits by this repeats them five times.
_WEEK, _FIVE_WEEKS = 0b1111111, sum(1 << 7 * week for week in range(5))


@dataclass(frozen=True, slots=True)
class CronDays:
    """`days_by_shape[7 * (n - 28) + w]` has bit d if day d matches in a month of n days whose first is weekday w.

    `years` and `months` are those with any match, so that what never matches again is known without a search.
    """

    years: int
    months: int
    days_by_shape: tuple[int, ...]

    @classmethod
    def compile(cls, expression: CronExpression) -> CronDays:
        days_by_shape = tuple(_matching_days(expression, shape) for shape in _SHAPES)
        years = months = 0
        for shapes, of_kind in _KINDS.items():
            matching = expression.month.mask << 1 & sum(
                1 << month for month, shape in enumerate(shapes, 1) if days_by_shape[shape]
            )
            if matching and of_kind & expression.year.mask:
                years |= of_kind & expression.year.mask
                months |= matching
        return cls(years, months, days_by_shape)

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
        shapes = _SHAPES_OF_YEARS[year - FIRST_YEAR]
        found = next_bit(self.months, month)
        while found >= 0:
            match = next_bit(self.days_by_shape[shapes[found - 1]], day if found == month else 1)
            if match >= 0:
                return date(year, found, match)
            found = next_bit(self.months, found + 1)
        return None


def _matching_days(expression: CronExpression, shape: MonthShape) -> int:
    all_days = ((1 << shape.length) - 1) << 1
    week = (expression.weekday.mask >> shape.first_weekday | expression.weekday.mask << 7 - shape.first_weekday) & _WEEK
    days = expression.day.mask << 1 | _ruled_days(expression.day, shape)
    weekdays = week * _FIVE_WEEKS << 1 | _ruled_days(expression.weekday, shape)
    if expression.day.is_restricted and expression.weekday.is_restricted:
        return (days | weekdays) & all_days
    return days & weekdays & all_days


def _ruled_days(parsed: ParsedField, shape: MonthShape) -> int:
    days = 0
    for rule in parsed.day_rules:
        day = rule(shape)
        days |= 0 if day is None else 1 << day
    return days
