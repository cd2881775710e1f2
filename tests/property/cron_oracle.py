"""An independent reading of cron expressions: slow, obvious, and written without the code under test.

Each value of a field is asked for by trying every item; days and times are found by walking.
"""

from __future__ import annotations

import calendar
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import cache

_MONTHS = tuple(name.lower() for name in calendar.month_name[1:])
_WEEKDAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")


def _number(text: str, names: tuple[str, ...], first: int) -> int:
    for index, name in enumerate(names):
        if text.lower() in (name, name[:3]):
            return index + first
    return int(text)


def _item_matches(item: str, value: int, low: int, high: int, names: tuple[str, ...]) -> bool:
    body, _, step = item.partition("/")
    if body == "*":
        begin, end = low, high
    elif "-" in body:
        begin, end = (_number(part, names, low) for part in body.split("-"))
    else:
        begin = _number(body, names, low)
        end = high if step else begin
    return begin <= value <= end and (value - begin) % int(step or 1) == 0


@cache
def _values(field: str, low: int, high: int, names: tuple[str, ...] = ()) -> set[int]:
    items = ["*"] if field == "?" else field.split(",")
    return {value for value in range(low, high + 1) for item in items if _item_matches(item, value, low, high, names)}


@cache
def _weekdays(field: str) -> set[int]:
    """7 is Sunday too; items that mention it are read over 0-7, all others over 0-6."""
    found: set[int] = set()
    for written in ["*"] if field == "?" else field.split(","):
        body, slash, step = written.partition("/")
        item = f"0{slash}{step}" if body in ("7", "07") else written
        high = 7 if body.endswith(("-7", "-07")) else 6
        found |= {value % 7 for value in range(high + 1) if _item_matches(item, value, 0, high, _WEEKDAYS)}
    return found


def _is_nearest_workday(at: date, day: int) -> bool:
    """Whether `at` is the working day of its month that is nearest to `day`: tried by distance, earlier days first."""
    length = calendar.monthrange(at.year, at.month)[1]
    if day > length:
        return False
    near = sorted(range(1, length + 1), key=lambda candidate: (abs(candidate - day), candidate))
    return at.day == next(d for d in near if date(at.year, at.month, d).weekday() < 5)


@cache
def _matches_month_day(item: str, at: date) -> bool:
    last = calendar.monthrange(at.year, at.month)[1]
    match item.upper():
        case "L":
            return at.day == last
        case "LW":
            return _is_nearest_workday(at, last)
        case text if text.endswith("W"):
            return _is_nearest_workday(at, int(text[:-1]))
    return at.day in _values(item, 1, 31)


@cache
def _matches_weekday(item: str, at: date) -> bool:
    name, mark, nth = item.partition("#")
    if not mark and not (item.upper().endswith("L") and not item.isalpha()) and item.upper()[:-1] not in _ENDING_IN_L:
        return at.isoweekday() % 7 in _weekdays(item)
    same = [week[at.weekday()] for week in calendar.monthcalendar(at.year, at.month) if week[at.weekday()]]
    weekday = _number(name if mark else item[:-1], _WEEKDAYS, 0) % 7
    return at.isoweekday() % 7 == weekday and same.index(at.day) == (int(nth) - 1 if mark else len(same) - 1)


_ENDING_IN_L = {form.upper() for name in _WEEKDAYS for form in (name, name[:3])}


class CronOracle:
    def __init__(self, expression: str) -> None:
        fields = expression.split()
        if len(fields) < 7:
            fields.insert(0, "0")
        if len(fields) < 7:
            fields.append("*")
        second, minute, hour, day, month, weekday, year = fields
        self.seconds, self.minutes, self.hours = _values(second, 0, 59), _values(minute, 0, 59), _values(hour, 0, 23)
        self.days, self.weekdays = (["*"] if field == "?" else field.split(",") for field in (day, weekday))
        self.months, self.years = _values(month, 1, 12, _MONTHS), _values(year, 1970, 2099)
        self.hour = hour
        self.either = day not in "*?" and weekday not in "*?"

    def matches_day(self, at: date) -> bool:
        if at.year not in self.years or at.month not in self.months:
            return False
        on = date(at.year, at.month, at.day)
        by_day = any(_matches_month_day(item, on) for item in self.days)
        by_weekday = any(_matches_weekday(item, on) for item in self.weekdays)
        return by_day or by_weekday if self.either else by_day and by_weekday

    def matches(self, at: datetime) -> bool:
        return (
            self.matches_day(at) and at.hour in self.hours and at.minute in self.minutes and at.second in self.seconds
        )

    def next_after(self, after: datetime, days: int) -> datetime | None:
        """The first slot strictly after, looking `days` days ahead."""
        midnight = after.replace(hour=0, minute=0, second=0, microsecond=0)
        for offset in range(days):
            day = midnight + timedelta(days=offset)
            if self.matches_day(day):
                for at in self._times(day):
                    if at > after:
                        return at
        return None

    def _times(self, day: datetime) -> Iterator[datetime]:
        for hour in sorted(self.hours):
            for minute in sorted(self.minutes):
                for second in sorted(self.seconds):
                    yield datetime(day.year, day.month, day.day, hour, minute, second, tzinfo=UTC)
