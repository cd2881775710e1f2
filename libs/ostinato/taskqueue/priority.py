"""How urgent tasks are. Pure."""

from __future__ import annotations

from enum import IntEnum


class Priority(IntEnum):
    """Four bands. While a task of a more urgent band of its queue is due, less urgent ones are not claimed."""

    URGENT = 0
    NORMAL = 1
    LOW = 2
    IDLE = 3
