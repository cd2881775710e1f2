"""The run timeout, applied lazily: a stored deadline says when to look, this says whether it is over.

Every invocation that is not final always has a deadline ahead of it or is ended here, so none runs for ever.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeAlias

from ostinato.scheduling.invocation import InvocationStatus, is_final


@dataclass(frozen=True, slots=True)
class TimedOut:
    """End it: `deadline` has passed."""

    deadline: datetime


@dataclass(frozen=True, slots=True)
class LookAgainAt:
    at: datetime


DeadlineDecision: TypeAlias = TimedOut | LookAgainAt


def decide_deadline(
    status: InvocationStatus, started_at: datetime | None, created_at: datetime, timeout: timedelta, now: datetime
) -> DeadlineDecision:
    """The timeout counts from the first launch attempt; waiting in the launch queue does not use it up.

    An invocation that has not started, or has ended and only waits for its triage, is merely looked at again.
    """
    if started_at is None or is_final(status):
        return LookAgainAt(max(created_at, now) + timeout)
    deadline = started_at + timeout
    return TimedOut(deadline) if deadline <= now else LookAgainAt(deadline)
