"""What a process counts of its reminders: plain ints and arrays that a scrape reads."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from ostinato.taskqueue.embedded.worker_stats import TimeHistogram


class Path(StrEnum):
    """On which way a request was made."""

    NONE = "none"  # without a transaction, so without a reminder
    HAPPY = "happy"  # by whoever wrote the reminder, after the commit
    SWEEP = "sweep"


class SubmitKey(NamedTuple):
    task_class: str
    queue: str
    path: Path
    code: str  # name of the gRPC status


class ClassPath(NamedTuple):
    task_class: str
    path: Path


@dataclass(slots=True)
class ReminderStats:
    """Of one process. Times in seconds; a reminder that can't be read counts under the class `unknown`."""

    # Reminders of commits that were seen to happen.
    fresh: Counter[str] = field(default_factory=Counter)
    stale: Counter[str] = field(default_factory=Counter)
    # Fresh when they were committed, and yet left to the sweepers: too many at once, too slow, or a process that ends.
    left_behind: Counter[str] = field(default_factory=Counter)
    # Requests by their answers, and how long these took.
    submits: dict[SubmitKey, TimeHistogram] = field(default_factory=lambda: defaultdict(TimeHistogram))
    # Reminders that this process deleted because their tasks were handed over, by how long after they were made.
    processed: dict[ClassPath, TimeHistogram] = field(default_factory=lambda: defaultdict(TimeHistogram))
    refused: Counter[str] = field(default_factory=Counter)
    parked: Counter[str] = field(default_factory=Counter)
    missing: int = 0  # seen by a scan, gone when they were to be submitted
    save_failures: int = 0  # answers that the database could not be told

    def count_submits(self, key: SubmitKey) -> int:
        return sum(self.submits[key].counts) if key in self.submits else 0
