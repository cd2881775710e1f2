"""GREEDY_BATCHING: each free slot takes as many of the oldest triggers as a batch holds (LUCI Scheduler).

It neither waits for a full batch nor balances: 4 triggers, batches of 3 and 2 free slots make [1, 2, 3] and [4].
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from ostinato.scheduling.triage_snapshot import PendingTrigger


def decide_greedy(
    triggers: Sequence[PendingTrigger], *, free_slots: int, max_batch_size: int
) -> list[Sequence[PendingTrigger]]:
    """The batches to start, oldest first. `triggers` is oldest first; those in no batch stay pending."""
    starts = range(0, len(triggers), max_batch_size)
    return [triggers[start : start + max_batch_size] for start in islice(starts, max(0, free_slots))]
