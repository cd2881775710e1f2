"""A strand is one ordered line of ready tasks: a queue, a priority band and a sub-queue packed into an int. Pure."""

from __future__ import annotations

from ostinato.taskqueue.priority import Priority

# Sub-queue 0 is for everybody. 63 is for tasks that come back from a dead or stopping process: its rows are newer than
# any cursor, so that nobody has to rewind. 1–62 are for floods, by key.
SHARED = 0
FLOODS = 62
REDELIVERY = 63


def strand_of(queue_id: int, *, priority: int = Priority.NORMAL, subqueue: int = SHARED) -> int:
    """queue_id << 9 | priority (0 is most urgent, 3 least) << 6 | sub-queue (0 to 63)."""
    return queue_id << 9 | priority << 6 | subqueue


def queue_of(strand: int) -> int:
    return strand >> 9


def lane_of(strand: int) -> int:
    """Queue and priority."""
    return strand >> 6


def subqueue_of(strand: int) -> int:
    return strand & 63


def strands_of(queue_id: int) -> tuple[int, int]:
    """The first and the last strand of a queue."""
    return strand_of(queue_id, priority=Priority.URGENT), strand_of(queue_id, priority=Priority.IDLE, subqueue=63)


def pair_of(queue_id: int, class_id: int) -> int:
    """One number for both: tasks of a class with a picker wait in several queues, each of which may be paused."""
    return queue_id << 16 | class_id
