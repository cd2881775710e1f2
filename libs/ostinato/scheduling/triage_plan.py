"""What a triage decided for one job, to be applied in one transaction."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from ostinato.scheduling.invocation_id import InvocationId
from ostinato.scheduling.occurrence import OccurrenceOutcome

MAX_EXPLAINED_TRIGGERS = 20


class ReasonCode(StrEnum):
    """Why a trigger met its fate. People and programs read these."""

    STARTED = "STARTED"
    BATCHED = "BATCHED"
    AT_CONCURRENCY_LIMIT = "AT_CONCURRENCY_LIMIT"
    DISCARDED_EXPIRED = "DISCARDED_EXPIRED"
    DROPPED_OVERFLOW = "DROPPED_OVERFLOW"
    MIN_INTERVAL = "MIN_INTERVAL"
    START_DEADLINE_PASSED = "START_DEADLINE_PASSED"
    PURGED_PAUSED = "PURGED_PAUSED"
    PURGED_DISABLED = "PURGED_DISABLED"
    WAITING_BACKOFF = "WAITING_BACKOFF"
    WAITING_PAUSED = "WAITING_PAUSED"


# Reasons after which a trigger starts nothing any more.
DROPS = frozenset(
    {
        ReasonCode.DISCARDED_EXPIRED,
        ReasonCode.DROPPED_OVERFLOW,
        ReasonCode.START_DEADLINE_PASSED,
        ReasonCode.PURGED_PAUSED,
        ReasonCode.PURGED_DISABLED,
    }
)


@dataclass(frozen=True, slots=True)
class InvocationRequest:
    """One invocation to create. `trigger_ids` is oldest first; `triggered_by` is empty unless all came from one."""

    trigger_ids: tuple[str, ...]
    triggered_by: str
    scheduled_for: datetime | None


@dataclass(frozen=True, slots=True)
class TriageDecision:
    """`count` triggers met `reason`; at most 20 of them are named. `request` is an index into the plan's requests."""

    reason: ReasonCode
    count: int
    trigger_ids: tuple[str, ...]
    request: int | None = None


@dataclass(frozen=True, slots=True)
class SlotOutcome:
    """A ledger row. `request` is an index into the plan's requests."""

    slot: datetime
    outcome: OccurrenceOutcome
    request: int | None = None


@dataclass(frozen=True, slots=True)
class TriagePlan:
    """A trigger is in one request, or discarded, or stays pending; never two of these.

    `next_wake_at`: when the job has to be looked at though nothing happens; `adds_wake`: no task for it is planned.
    """

    acknowledged: tuple[InvocationId, ...]
    requests: tuple[InvocationRequest, ...]
    discarded: tuple[str, ...]
    rewind_cron: bool
    next_wake_at: datetime | None
    adds_wake: bool
    decisions: tuple[TriageDecision, ...]
    slot_outcomes: tuple[SlotOutcome, ...]
