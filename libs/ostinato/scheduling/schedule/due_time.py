"""When a slot is due: later than the slot by the job's offset, and by its jitter, which differs from slot to slot."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from ostinato.scheduling.schedule.hashed_choice import hashed_choice

_MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Delay:
    """`jitter` is a bound, whole milliseconds. The same job and slot have the same delay wherever it is asked for."""

    job_name: str
    offset: timedelta = timedelta(0)
    jitter: timedelta = timedelta(0)

    @property
    def longest(self) -> timedelta:
        return self.offset + self.jitter

    def due_time(self, slot: datetime) -> datetime:
        if not self.jitter:
            return slot + self.offset
        key = f"{self.job_name}\njitter\n{slot:%Y-%m-%dT%H:%M:%SZ}"
        return slot + self.offset + hashed_choice(key, self.jitter // _MILLISECOND + 1) * _MILLISECOND
