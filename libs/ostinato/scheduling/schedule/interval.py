"""`with 10m interval`: measured from the end of the last run, so it has no slots of its own."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import ClassVar

# A run that ends at once must not start again at once.
MIN_SPACING = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class IntervalSchedule:
    text: str
    interval: timedelta

    is_absolute: ClassVar[bool] = False

    def next_after(self, after: datetime, *, last_rewind_at: datetime | None = None) -> datetime | None:
        """`interval` (at least 1 s) after the last rewind, or `after` itself if that is over (LUCI Scheduler).

        Without a rewind the interval counts from `after`.
        """
        spacing = max(self.interval, MIN_SPACING)
        try:
            return after + spacing if last_rewind_at is None else max(last_rewind_at + spacing, after)
        except OverflowError:  # beyond year 9999
            return None
