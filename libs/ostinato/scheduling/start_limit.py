"""How late a slot may start: whoever misses it is dropped and recorded, however long it would have waited."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from ostinato.scheduling.schedule.due_time import Delay


@dataclass(frozen=True, slots=True)
class StartLimit:
    """`limit` counts from when a slot is due."""

    delay: Delay
    limit: timedelta

    def deadline(self, slot: datetime) -> datetime:
        """From then on it starts nothing."""
        return self.delay.due_time(slot) + self.limit
