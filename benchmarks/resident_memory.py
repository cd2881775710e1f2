"""The memory of a process, read from /proc; None where there is no /proc."""

from __future__ import annotations

import os
from pathlib import Path

_PAGE = os.sysconf("SC_PAGE_SIZE")


def resident_megabytes(pid: int) -> float | None:
    try:
        fields = (Path("/proc") / str(pid) / "statm").read_text().split()
    except OSError:
        return None
    return int(fields[1]) * _PAGE / 1e6
