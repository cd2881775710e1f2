"""How a sweep is shared out, and where its tasks go. Pure."""

from __future__ import annotations

from dataclasses import dataclass, fields

SHARDS = 16
TASKS_PER_SCAN = 2048
SECONDARY_SCAN_SHARDS = 16
SWEEP_QUEUE = "tq-sweep"
LESSOR = "database"


@dataclass(frozen=True, slots=True)
class SweepOptions:
    """A number that is not positive, or an empty name, stands for the default.

    A sweep begins with `shards` ranges. A scan reads `tasks_per_scan` reminders; what it leaves over is split into at
    most `secondary_scan_shards` ranges. An empty `task_host` means that of all other tasks.
    """

    shards: int = SHARDS
    tasks_per_scan: int = TASKS_PER_SCAN
    secondary_scan_shards: int = SECONDARY_SCAN_SHARDS
    lessor: str = LESSOR
    task_queue: str = SWEEP_QUEUE
    task_prefix: str = "/internal/tasks"
    task_host: str = ""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not value or (isinstance(value, int) and value < 0):
                object.__setattr__(self, field.name, field.default)
