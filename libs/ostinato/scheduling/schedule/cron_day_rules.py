"""Operators of the day fields: `L`, `LW`, `nW` in the day of month; `nL`, `n#k` in the day of week.

Which day each is depends on the month. A month that has no such day has no slot; nothing is moved into another month.
"""

from __future__ import annotations

import re

from ostinato.scheduling.schedule.cron_field import FieldText, is_value, parse_value
from ostinato.scheduling.schedule.month_shape import DayRule, MonthShape

_NEAREST = re.compile(r"([0-9]+)w", re.IGNORECASE)


def read_day_rule(source: FieldText, item: str, offset: int) -> DayRule | None:
    """An item of the day-of-month field. None if it is none of the operators; raises ScheduleError."""
    if item.lower() == "l":
        return lambda shape: shape.length
    if item.lower() == "lw":
        return lambda shape: _nearest_workday(shape, shape.length)
    nearest = _NEAREST.fullmatch(item)
    if nearest is None:
        return None
    day = parse_value(source, nearest[1], offset)
    return lambda shape: _nearest_workday(shape, day) if day <= shape.length else None


def read_weekday_rule(source: FieldText, item: str, offset: int) -> DayRule | None:
    """An item of the day-of-week field, likewise."""
    weekday_text, mark, nth_text = item.partition("#")
    if mark:
        weekday = parse_value(source, weekday_text, offset)
        if not re.fullmatch(r"[1-5]", nth_text):
            where = offset + len(weekday_text) + 1
            raise source.error(where, f"expected which one of the month, 1-5, not {nth_text!r}")
        return lambda shape: _nth_of(shape, weekday, int(nth_text))
    if item.lower() == "l":
        raise source.error(offset, "L follows a weekday here, as in 5L or FRIL")
    if item[-1:].lower() == "l" and is_value(source.rule, item[:-1]):
        weekday = parse_value(source, item[:-1], offset)
        return lambda shape: shape.first(weekday) + (shape.length - shape.first(weekday)) // 7 * 7
    return None


def _nearest_workday(shape: MonthShape, day: int) -> int:
    """Saturdays give Friday and Sundays Monday, unless that is another month's."""
    match shape.weekday(day):
        case 6:
            return day - 1 if day > 1 else day + 2
        case 0:
            return day + 1 if day < shape.length else day - 2
        case _:
            return day


def _nth_of(shape: MonthShape, weekday: int, nth: int) -> int | None:
    day = shape.first(weekday) + 7 * (nth - 1)
    return day if day <= shape.length else None
