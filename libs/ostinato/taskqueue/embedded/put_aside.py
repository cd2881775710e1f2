"""Puts waiting tasks aside that crowd a queue which can't keep up, so that others need not wait for all of them.

Whoever adds diverts what comes too fast. A key that adds slower than that, or through many processes, fills the shared
line all the same when its tasks take long or the queue has a limit. So whoever finds a queue without room looks at the
head of its shared lines, and leaves the first few tasks of each key there.
"""

from __future__ import annotations

from collections.abc import Iterable

from ostinato.clock import Clock
from ostinato.storage.database import Database
from ostinato.taskqueue.embedded import ready_store
from ostinato.taskqueue.embedded.claim_lines import ClaimLines

KEEP = 16  # tasks of one key, at least one round of what others are served meanwhile
_LOOKS = 1000
_EVERY = 1.0  # seconds; while there is something to put aside, which each task is but once, all the sooner
_EVERY_WHILE_CROWDED = 0.1
_COST, _COST_WHILE_CROWDED = 20, 2  # looks take at most this part of the time


class PuttingAside:
    """For one incarnation; finds the shared lines in `lines`, and marks those that tasks were put into."""

    def __init__(self, db: Database, lines: ClaimLines, clock: Clock) -> None:
        self._db = db
        self._lines = lines
        self._clock = clock
        self._next_at = float("-inf")

    async def look(self, crowded: Iterable[int]) -> None:
        """`crowded`: the queues without room."""
        started = self._clock.monotonic()
        shared = [line for queue in crowded for line in self._lines.shared(queue)]
        if not shared or started < self._next_at:
            return
        put_into: set[int] = set()
        for strand, low in shared:
            put_into |= await ready_store.put_aside(self._db, strand, since=low, looks=_LOOKS, keep=KEEP)
        self._lines.mark(put_into)
        ended = self._clock.monotonic()
        pause, cost = (_EVERY_WHILE_CROWDED, _COST_WHILE_CROWDED) if put_into else (_EVERY, _COST)
        self._next_at = ended + max(pause, cost * (ended - started))
