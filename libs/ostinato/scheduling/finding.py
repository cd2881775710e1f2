"""What explains a job to people: a code for programs, a sentence for people."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from ostinato.scheduling.schedule.instant import format_instant


class Cause(StrEnum):
    """What keeps a job from running, what it waits for, or what became of one slot."""

    DISABLED = "DISABLED"
    PAUSED = "PAUSED"
    DEFINITION_UNREADABLE = "DEFINITION_UNREADABLE"
    NO_ENGINE = "NO_ENGINE"
    QUEUE_PAUSED = "QUEUE_PAUSED"
    LAUNCH_RETRYING = "LAUNCH_RETRYING"
    AT_CONCURRENCY_LIMIT = "AT_CONCURRENCY_LIMIT"
    RUNNING = "RUNNING"
    TOKEN_REJECTED = "TOKEN_REJECTED"  # noqa: S105 - no secret
    TRIAGE_FAILING = "TRIAGE_FAILING"
    TRIAGE_LATE = "TRIAGE_LATE"
    WAITING_INTERVAL = "WAITING_INTERVAL"
    WAITING_BACKOFF = "WAITING_BACKOFF"
    TICK_LATE = "TICK_LATE"
    SCHEDULED = "SCHEDULED"
    SCHEDULE_ENDED = "SCHEDULE_ENDED"
    UPSTREAM_DISABLED = "UPSTREAM_DISABLED"
    UPSTREAM_NEVER_SUCCEEDED = "UPSTREAM_NEVER_SUCCEEDED"
    NOTHING_ASKED = "NOTHING_ASKED"
    TRIGGERS_DROPPED = "TRIGGERS_DROPPED"
    TARGET_FAILING = "TARGET_FAILING"
    # Of a slot: beside these the names of the outcomes in the ledger.
    NOT_THERE_YET = "NOT_THERE_YET"
    NO_SLOT = "NO_SLOT"
    STILL_WAITING = "STILL_WAITING"
    AHEAD = "AHEAD"
    NOT_RECORDED = "NOT_RECORDED"
    STARTED = "STARTED"
    BATCHED = "BATCHED"
    EXPIRED = "EXPIRED"
    OVERFLOW = "OVERFLOW"
    SKIPPED_CATCHUP = "SKIPPED_CATCHUP"
    SKIPPED_DST_GAP = "SKIPPED_DST_GAP"
    SKIPPED_BLACKOUT = "SKIPPED_BLACKOUT"
    START_DEADLINE = "START_DEADLINE"


@dataclass(frozen=True, slots=True)
class Finding:
    """`since`: from when on it has been so, where that is known. `text` is one sentence or a few, in one line."""

    cause: Cause
    text: str
    since: datetime | None = None


def told_instant(at: datetime | None) -> str:
    """As sentences name it."""
    return "an unknown time" if at is None else format_instant(at)
