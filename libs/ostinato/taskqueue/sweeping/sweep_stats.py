"""What a process counts of its sweeps: plain ints and arrays that a scrape reads."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import NamedTuple

from ostinato.taskqueue.embedded.worker_stats import TimeHistogram
from ostinato.taskqueue.sweeping.scan import ScanStatus


class ScanKey(NamedTuple):
    status: ScanStatus
    level: int


@dataclass(slots=True)
class SweepStats:
    """Of one process. Times in seconds."""

    scans: dict[ScanKey, TimeHistogram] = field(default_factory=lambda: defaultdict(TimeHistogram))
    scanned: Counter[ScanKey] = field(default_factory=Counter)  # reminders that scans read
    staleness: dict[int, TimeHistogram] = field(default_factory=lambda: defaultdict(TimeHistogram))  # of each, by level
    given_up: int = 0  # ranges that are left to the next sweep
    batches: int = 0
    sweeps: TimeHistogram = field(default_factory=TimeHistogram)  # of whole sweeps in this process
    tasks: TimeHistogram = field(default_factory=TimeHistogram)  # of sweep tasks
    tasks_failed: int = 0
    begun: int = 0  # sweeps that this process began for all
    begin_failures: int = 0
