"""Puts what a key adds above its burst into a sub-queue of floods, so that others need not queue behind it."""

from __future__ import annotations

from collections import Counter

from ostinato.clock import Clock
from ostinato.taskqueue.embedded.fair_share import FloodGate, flood_subqueue
from ostinato.taskqueue.embedded.ready_store import NewTasks
from ostinato.taskqueue.embedded.strand import SHARED, lane_of


class FloodDiversion:
    """Of one process: every process that adds allows a burst of its own."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._gate = FloodGate()

    def split(self, tasks: NewTasks) -> list[NewTasks]:
        """The same tasks, by strand. Their order within a key stays."""
        keys = tasks.fair_keys
        if not any(keys):
            return [tasks]
        now, lane = self._clock.monotonic(), lane_of(tasks.strand)
        admitted = {key: self._gate.admit(lane, key, count, now=now) for key, count in Counter(keys).items()}
        if sum(admitted.values()) == len(keys):
            return [tasks]
        by_subqueue: dict[int, list[int]] = {}
        for n, key in enumerate(keys):
            admitted[key] -= 1
            by_subqueue.setdefault(SHARED if admitted[key] >= 0 else flood_subqueue(key), []).append(n)
        return [tasks.only(chosen)._replace(strand=tasks.strand | sub) for sub, chosen in by_subqueue.items()]
