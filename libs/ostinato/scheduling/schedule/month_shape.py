"""What decides which day of a month an operator such as `LW` means."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class MonthShape:
    """`first_weekday` is that of day 1, Sunday 0; `length` in days. Two months of one shape have the same days."""

    first_weekday: int
    length: int

    def weekday(self, day: int) -> int:
        return (self.first_weekday + day - 1) % 7

    def first(self, weekday: int) -> int:
        """The first day that is one."""
        return 1 + (weekday - self.first_weekday) % 7


# The day of a month, None if it has none.
DayRule: TypeAlias = Callable[[MonthShape], int | None]
