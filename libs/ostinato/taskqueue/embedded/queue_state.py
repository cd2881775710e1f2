"""What a process must know of a queue's settings to claim from it and to start its tasks. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class QueueState:
    """As of one `version`; whoever changes a queue adds one to that."""

    version: int
    paused: bool = False
    purge_before: datetime | None = None  # what was added before and has not started is dropped
    has_rate: bool = False
    has_ceiling: bool = False  # of what is claimed at once, over all processes

    @property
    def is_limited(self) -> bool:
        """Claimed from under the queue's lock, and nothing in advance."""
        return self.has_rate or self.has_ceiling

    def is_purged(self, due_at: datetime) -> bool:
        """Of a claimed task that was due at `due_at`, which is when it was added or later."""
        return self.purge_before is not None and due_at < self.purge_before
