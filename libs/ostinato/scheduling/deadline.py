"""When a run has lasted too long or been silent too long, looked at lazily: a stored deadline says when to look, this
says whether it is over.

Every invocation that is not final always has a deadline ahead of it or is ended here, so none runs for ever.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeAlias

from ostinato.scheduling.invocation import InvocationStatus, is_final
from ostinato.scheduling.launching import RUN_TIMEOUT

HEARTBEAT_TIMEOUT = "HEARTBEAT_TIMEOUT"
# Engines look within about a second. Where a look is later than this, nobody was there to apply reports either.
LATE_LOOK = timedelta(seconds=3)
# Looking whether an end waits reads a whole queue.
_END_WAITS = timedelta(seconds=5)
# An end that can't be applied for longer holds its run up no more.
END_WAITS_AT_MOST = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class RunTimeouts:
    """`run`: from the first launch attempt to the end. `heartbeat`: the longest silence of a RUNNING one.

    `can_report`: the work itself says how it ends.
    """

    run: timedelta
    heartbeat: timedelta | None = None
    can_report: bool = False

    @property
    def shortest(self) -> timedelta:
        """No run can be over sooner after any look at it."""
        return self.run if self.heartbeat is None else min(self.run, self.heartbeat)


@dataclass(frozen=True, slots=True)
class RunTimes:
    """`last_heartbeat_at`: of its last sign of life; that it became RUNNING is the first."""

    created_at: datetime
    started_at: datetime | None
    last_heartbeat_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class TimedOut:
    """End it: `deadline` has passed. `reason` is RUN_TIMEOUT or HEARTBEAT_TIMEOUT."""

    deadline: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class LookAgainAt:
    at: datetime


DeadlineDecision: TypeAlias = TimedOut | LookAgainAt


def decide_deadline(
    status: InvocationStatus,
    times: RunTimes,
    timeouts: RunTimeouts,
    now: datetime,
    *,
    due_at: datetime | None = None,
    unheard: bool = False,
    end_waits: bool = False,
) -> DeadlineDecision:
    """The run timeout counts from the first launch attempt; waiting in the launch queue does not use it up.

    The heartbeat timeout is of RUNNING ones only: until then the work can't be heard, and what fails is on our side.
    `due_at`: when this look was due. Silence of which a late look tells may be ours, and so may that of one whose
    reports may wait `unheard` in the queue: it counts from the look. `end_waits`: the work has told its end, which was
    accepted and is yet to be applied; that end wins, if it is applied within END_WAITS_AT_MOST.
    An invocation that has not started, or has ended and only waits for its triage, is merely looked at again.
    """
    if times.started_at is None or is_final(status):
        return LookAgainAt(max(times.created_at, now) + timeouts.shortest)
    deadlines = [TimedOut(times.started_at + timeouts.run, RUN_TIMEOUT)]
    if status is InvocationStatus.RUNNING and timeouts.heartbeat is not None:
        may_be_ours = unheard or (due_at is not None and now - due_at > LATE_LOOK)
        silent_since = now if may_be_ours else max(times.started_at, times.last_heartbeat_at or times.started_at)
        deadlines.append(TimedOut(silent_since + timeouts.heartbeat, HEARTBEAT_TIMEOUT))
    first = min(deadlines, key=lambda timed_out: timed_out.deadline)
    if first.deadline <= now:
        may_wait = end_waits and now - first.deadline < END_WAITS_AT_MOST
        return LookAgainAt(now + _END_WAITS) if may_wait else first
    if status is InvocationStatus.RUNNING:
        return LookAgainAt(first.deadline)
    return LookAgainAt(min(first.deadline, now + timeouts.shortest))  # it may become RUNNING right after this look
