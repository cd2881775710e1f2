"""What a job says about its schedule beyond the expression."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum

from ostinato.scheduling.schedule.cron import FoldPolicy, GapPolicy


@dataclass(frozen=True, slots=True)
class Blackout:
    """Nothing starts for slots in [start, end). `calendar` is where it stood, empty if in the job itself."""

    start: datetime
    end: datetime
    calendar: str = ""


class CatchUpPolicy(IntEnum):
    """What becomes of slots that came due while nobody was there to fire them. Numbers as in `CatchUp.Policy`."""

    SKIP = 1  # the oldest fires, however late, and with it the rest is over
    LATEST = 2  # the newest fires
    ALL = 3  # each has a run of its own, oldest first


@dataclass(frozen=True, slots=True)
class CatchUp:
    """LATEST and ALL fire slots of the last `window`, ALL the newest `limit` of them; others are skipped."""

    policy: CatchUpPolicy = CatchUpPolicy.SKIP
    window: timedelta = timedelta(hours=24)
    limit: int = 100


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
    catch_up: CatchUp = CatchUp()
