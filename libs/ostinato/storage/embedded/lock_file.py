"""PostgreSQL's `postmaster.pid`: is a server running on this data, and is it safe to start one?

A stale file is never deleted: its shared memory key lets PostgreSQL itself find out whether processes of the
dead server are still at work on the data. Only the process id is replaced, by ours: PostgreSQL takes the id
of its own parent for stale, where a zombie's or a stranger's would make it refuse to start.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from dataclasses import dataclass
from pathlib import Path

from ostinato.errors import FailedPrecondition
from ostinato.storage.embedded.child_process import ProcessFacts, find_process

_POLL_SECONDS = 0.05
# What to send to a server that is not our child, and how long to wait for its end.
_STOP_STEPS = ((signal.SIGINT, 30.0), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 10.0))


@dataclass(frozen=True, slots=True)
class LockFile:
    """What `postmaster.pid` says."""

    pid: int
    ready: bool


def read_lock_file(data: Path) -> LockFile | None:
    try:
        lines = (data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return None
    pid = int(lines[0]) if lines and lines[0].strip().lstrip("-").isdigit() else 0
    return LockFile(pid, ready=len(lines) >= 8 and lines[7].strip() == "ready")


def is_server_of(facts: ProcessFacts | None, data: Path) -> bool:
    """True if that process is a PostgreSQL server on `data`."""
    if facts is None or not Path(facts.arguments[0]).name.startswith(("postgres", "postmaster")):
        return False
    return str(data) in facts.arguments or facts.folder == data.resolve()


async def clear_leftover(data: Path) -> bool:
    """Stops a server that an earlier process of ours left running, and makes a stale lock file harmless.

    True if a server was stopped. The caller holds the lock of this data directory.
    """
    lock = read_lock_file(data)
    if lock is None:
        return False
    was_running = is_server_of(find_process(lock.pid), data)
    if was_running:
        await _stop(lock.pid, data)
    _disarm(data / "postmaster.pid")
    return was_running


async def _stop(pid: int, data: Path) -> None:
    for sent, patience in _STOP_STEPS:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, sent)
        for _ in range(int(patience / _POLL_SECONDS)):
            if not is_server_of(find_process(pid), data):
                return
            await asyncio.sleep(_POLL_SECONDS)
    raise FailedPrecondition(f"process {pid} still serves {data} and can't be stopped")


def _disarm(path: Path) -> None:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return
    _, newline, rest = text.partition("\n")
    if not newline:
        path.unlink()  # cut off while being written: that server never got to its shared memory
        return
    with path.open("r+", encoding="utf-8") as file:  # in place: it keeps its owner
        file.write(f"{os.getpid()}\n{rest}")
        file.truncate()
