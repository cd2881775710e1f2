"""A strand is one ordered line of ready tasks: a queue, a priority band and a sub-queue packed into an int. Pure."""

from __future__ import annotations

# Sub-queue 0 is for everybody. 63 is for tasks that come back from a dead or stopping process: it is looked at
# first and its rows are newer than any cursor, so that nobody has to rewind. 1–62 are kept for floods.
SHARED = 0
REDELIVERY = 63
DEFAULT_PRIORITY = 1


def strand_of(queue_id: int, *, priority: int = DEFAULT_PRIORITY, subqueue: int = SHARED) -> int:
    """queue_id << 9 | priority (0 is most urgent, 3 least) << 6 | sub-queue (0 to 63)."""
    return queue_id << 9 | priority << 6 | subqueue


def queue_of(strand: int) -> int:
    return strand >> 9


def strands_of(queue_id: int) -> tuple[int, int]:
    """The first and the last strand of a queue."""
    return strand_of(queue_id, priority=0), strand_of(queue_id, priority=3, subqueue=REDELIVERY)
