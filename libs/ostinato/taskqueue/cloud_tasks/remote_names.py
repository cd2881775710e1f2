"""Names of queues and tasks in Cloud Tasks, and the numbers by which we know tasks. Pure."""

from __future__ import annotations

import hashlib
import re

_HEX_NAME = re.compile(r"(?:.*-)?([0-9a-f]{32}|[0-9a-f]{64})")


def location_path(project: str, location: str) -> str:
    return f"projects/{project}/locations/{location}"


def queue_path(project: str, location: str, queue: str) -> str:
    """`queue` may be a full name already."""
    return queue if "/" in queue else f"{location_path(project, location)}/queues/{queue}"


def short_name(path: str) -> str:
    """The last part of a queue's or a task's full name."""
    return path.rpartition("/")[2]


def number_of(name: str) -> int:
    """Of a task by its name, full or short: the same for who adds it and who runs it; 63 bits."""
    short = short_name(name)
    match = _HEX_NAME.fullmatch(short)
    digits = match[1] if match else hashlib.sha256(short.encode(errors="replace")).hexdigest()
    return int(digits[:16], 16) >> 1
