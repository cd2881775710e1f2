"""The policies that put the oldest triggers into batches; they differ in how much of what waits goes into one (LUCI).

GREEDY_BATCHING takes all of it: 4 triggers, batches of 3 and 2 free slots make [1, 2, 3] and [4]. It neither waits for
a full batch nor balances. LOGARITHMIC_BATCHING takes the logarithm of it, so batches grow slowly with the load.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from ostinato.scheduling.triage_snapshot import PendingTrigger

BatchSize = Callable[[int], int]


def decide_batches(
    triggers: Sequence[PendingTrigger], *, unread: int, free_slots: int, max_batch_size: int, size_for: BatchSize
) -> list[Sequence[PendingTrigger]]:
    """The batches to start, oldest first. `triggers` is oldest first, `unread` more wait behind them.

    `size_for`: how large a batch shall be when so many are left, this one included.
    """
    batches: list[Sequence[PendingTrigger]] = []
    taken = 0
    while len(batches) < free_slots and taken < len(triggers):
        size = min(size_for(len(triggers) + unread - taken), max_batch_size)
        batches.append(triggers[taken : taken + size])
        taken += size
    return batches


def greedy_size(waiting: int) -> int:
    return waiting


def logarithmic_size(waiting: int, base: float) -> int:
    """floor(log(waiting)), at least 1 and at most all; a power of the base counts as whole, whatever floats say."""
    return max(1, min(waiting, math.floor(math.log(waiting) / math.log(base) + 1e-9)))
