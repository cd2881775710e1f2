"""What became of a slot of an absolute schedule. Each slot ends in exactly one of these (the ledger)."""

from __future__ import annotations

from enum import IntEnum


class OccurrenceOutcome(IntEnum):
    """Stored numbers. Of several slots in one invocation the newest is STARTED, the others BATCHED."""

    STARTED = 1
    BATCHED = 2
    EXPIRED = 3
    OVERFLOW = 4
    PAUSED = 5
    DISABLED = 6
    SKIPPED_CATCHUP = 7
    SKIPPED_DST_GAP = 8
    SKIPPED_BLACKOUT = 9
    START_DEADLINE = 10


# Tells a time that a gap of the clock leaves out from a slot at the instant to which it would have been moved.
GAP_TAG = 1
