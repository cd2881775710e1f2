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


def peak_megabytes(pid: int) -> float | None:
    """The most that was resident since the process began."""
    try:
        lines = (Path("/proc") / str(pid) / "status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) / 1000 for line in lines if line.startswith("VmHWM:")), None)
