"""`every 15m`: aligned in UTC, counted from 0001-01-01T00:00Z, which was a Monday; so weeks begin on Mondays."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import ClassVar

_ALIGNMENT = datetime(1, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class EverySchedule:
    """`period` is whole seconds, at least one."""

    text: str
    period: timedelta

    is_absolute: ClassVar[bool] = True

    def next_after(self, after: datetime, *, last_rewind_at: datetime | None = None) -> datetime | None:  # noqa: ARG002
        """The first multiple strictly after `after`."""
        try:
            return _ALIGNMENT + ((after - _ALIGNMENT) // self.period + 1) * self.period
        except OverflowError:  # beyond year 9999
            return None
