"""What a job says about its schedule beyond the expression."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from ostinato.scheduling.schedule.cron import FoldPolicy, GapPolicy


@dataclass(frozen=True, slots=True)
class Blackout:
    """Nothing starts for slots in [start, end). `calendar` is where it stood, empty if in the job itself."""

    start: datetime
    end: datetime
    calendar: str = ""


@dataclass(frozen=True, slots=True)
class ScheduleTerms:
    """Slots lie strictly between `start_after` and `end_before`. A slot is due `offset` and up to `jitter` later."""

    time_zone: str = "UTC"
    gap_policy: GapPolicy = GapPolicy.SHIFT
    fold_policy: FoldPolicy = FoldPolicy.FIRST
    offset: timedelta = timedelta(0)
    jitter: timedelta = timedelta(0)
    start_after: datetime | None = None
    end_before: datetime | None = None
    blackouts: tuple[Blackout, ...] = ()
