"""Child processes that don't outlive us, and facts about processes that are not our children.

A process id alone proves nothing: it may belong to a zombie, or have been given to somebody else since.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


@dataclass(frozen=True, slots=True)
class ProcessFacts:
    """A live process. `folder` is its working directory, None if we may not look."""

    arguments: tuple[str, ...]
    folder: Path | None


def die_with_parent(sent: signal.Signals) -> Callable[[], None] | None:
    """For Popen's `preexec_fn`: the kernel sends `sent` to the child when we die, however that happens.

    Linux only. The signal follows the *thread* that starts the child, so start it from the main one.
    """
    libc, parent = _LIBC, os.getpid()
    if libc is None:
        return None

    def arm() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, int(sent))
        if os.getppid() != parent:  # the parent died before the signal was armed
            os._exit(1)

    return arm


def find_process(pid: int) -> ProcessFacts | None:
    """None when there is no such process, or only a zombie of it."""
    if pid <= 0:
        return None
    return _from_proc(pid) if (_PROC / "self" / "stat").exists() else _from_ps(pid)


def _from_proc(pid: int) -> ProcessFacts | None:
    try:
        # The name stands in parentheses and may contain anything, so the state is looked for from the right.
        state = (_PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()[0]
        raw = (_PROC / str(pid) / "cmdline").read_bytes()
    except OSError:
        return None
    if state in "ZX":
        return None
    return ProcessFacts(tuple(raw.decode(errors="replace").rstrip("\0").split("\0")), _folder_of(pid))


def _folder_of(pid: int) -> Path | None:
    try:
        return (_PROC / str(pid) / "cwd").readlink()
    except OSError:
        return None  # another user's process


def _from_ps(pid: int) -> ProcessFacts | None:
    command = ["/bin/ps", "-o", "stat=", "-o", "args=", "-p", str(pid)]
    listed = subprocess.run(command, capture_output=True, text=True, check=False).stdout.split(maxsplit=1)
    if len(listed) < 2 or listed[0].startswith("Z"):
        return None
    return ProcessFacts(tuple(listed[1].split()), None)
