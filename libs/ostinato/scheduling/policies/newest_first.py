"""NEWEST_FIRST: each free slot takes one of the newest triggers; what waited too long starts nothing any more."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from datetime import datetime, timedelta

from ostinato.scheduling.triage_snapshot import PendingTrigger


def count_expired(triggers: Sequence[PendingTrigger], now: datetime, pending_timeout: timedelta) -> int:
    """How many of the oldest are at least so old. Age counts from the time that the emitter gave."""
    return bisect_right(triggers, now - pending_timeout, key=lambda trigger: trigger.created_at)


def decide_newest(triggers: Sequence[PendingTrigger], free_slots: int) -> list[Sequence[PendingTrigger]]:
    """A batch each for the newest, the oldest of them first. `triggers` is oldest first."""
    return [[trigger] for trigger in triggers[max(0, len(triggers) - max(0, free_slots)) :]]
