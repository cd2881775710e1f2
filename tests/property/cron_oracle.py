"""An independent reading of cron expressions: slow, obvious, and written without the code under test.

Each value of a field is asked for by trying every item; days and times are found by walking.
"""

from __future__ import annotations

import calendar
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

_MONTHS = [name.lower() for name in calendar.month_name[1:]]
_WEEKDAYS = ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"]


def _number(text: str, names: list[str], first: int) -> int:
    for index, name in enumerate(names):
        if text.lower() in (name, name[:3]):
            return index + first
    return int(text)


def _item_matches(item: str, value: int, low: int, high: int, names: list[str]) -> bool:
    body, _, step = item.partition("/")
    if body == "*":
        begin, end = low, high
    elif "-" in body:
        begin, end = (_number(part, names, low) for part in body.split("-"))
    else:
        begin = _number(body, names, low)
        end = high if step else begin
    return begin <= value <= end and (value - begin) % int(step or 1) == 0


def _values(field: str, low: int, high: int, names: list[str] | None = None) -> set[int]:
    items = ["*"] if field == "?" else field.split(",")
    return {
        value for value in range(low, high + 1) for item in items if _item_matches(item, value, low, high, names or [])
    }


def _weekdays(field: str) -> set[int]:
    """7 is Sunday too; items that mention it are read over 0-7, all others over 0-6."""
    found: set[int] = set()
    for written in ["*"] if field == "?" else field.split(","):
        body, slash, step = written.partition("/")
        item = f"0{slash}{step}" if body in ("7", "07") else written
        high = 7 if body.endswith(("-7", "-07")) else 6
        found |= {value % 7 for value in range(high + 1) if _item_matches(item, value, 0, high, _WEEKDAYS)}
    return found


class CronOracle:
    def __init__(self, expression: str) -> None:
        fields = expression.split()
        if len(fields) < 7:
            fields.insert(0, "0")
        if len(fields) < 7:
            fields.append("*")
        second, minute, hour, day, month, weekday, year = fields
        self.seconds, self.minutes, self.hours = _values(second, 0, 59), _values(minute, 0, 59), _values(hour, 0, 23)
        self.days, self.months = _values(day, 1, 31), _values(month, 1, 12, _MONTHS)
        self.weekdays, self.years = _weekdays(weekday), _values(year, 1970, 2099)
        self.either = day not in "*?" and weekday not in "*?"

    def matches_day(self, at: datetime) -> bool:
        by_day, by_weekday = at.day in self.days, at.isoweekday() % 7 in self.weekdays
        return (
            at.year in self.years
            and at.month in self.months
            and (by_day or by_weekday if self.either else by_day and by_weekday)
        )

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
