"""Counters of one worker: plain ints, because a metric object per task would cost more than the task."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class WorkerStats:
    claimed: int = 0
    done: int = 0
    retried: int = 0
    dead: int = 0
    released: int = 0
    deleted: int = 0  # dropped: their names were deleted before they ran
    rejected: int = 0  # ended here, but no longer ours
    reaped: int = 0  # freed from dead processes
    rescued: int = 0  # freed without an owner: should stay 0
