"""Processor seconds of processes, read from /proc; None where there is no /proc or no right to look."""

from __future__ import annotations

import os
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")


def of_process(pid: int) -> float | None:
    """Its own threads, without its children."""
    fields = _stat(pid)
    return None if fields is None else (int(fields[11]) + int(fields[12])) / _TICKS


def of_server(postmaster: int) -> float | None:
    """A PostgreSQL server: its main process, its living children, and those that ended."""
    fields = _stat(postmaster)
    if fields is None:
        return None
    ended = (int(fields[13]) + int(fields[14])) / _TICKS
    living = [of_process(pid) or 0.0 for pid in _children(postmaster)]
    return (of_process(postmaster) or 0.0) + ended + sum(living)


def of_machine() -> float | None:
    """Busy seconds of all processors since the machine started."""
    try:
        fields = [int(field) for field in (_PROC / "stat").read_text().splitlines()[0].split()[1:9]]
    except OSError:
        return None
    user, nice, system, _idle, _wait, irq, softirq, steal = fields
    return (user + nice + system + irq + softirq + steal) / _TICKS


def _children(parent: int) -> list[int]:
    pids = (int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit())
    return [pid for pid in pids if (fields := _stat(pid)) is not None and int(fields[1]) == parent]


def _stat(pid: int) -> list[str] | None:
    """The fields after the command's name, which may contain blanks."""
    try:
        return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
