"""The folder in which `ostinato up` keeps everything: lock, secret, logs and PostgreSQL's files."""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from ostinato.errors import FailedPrecondition
from ostinato.storage.embedded.private_file import write_private

LONGEST_LOG = 20_000_000  # bytes; one older file is kept beside it


@dataclass(frozen=True, slots=True)
class DataDirectory:
    """An opened data directory: nobody else runs on it."""

    path: Path

    @property
    def postgres(self) -> Path:
        return self.path / "postgres"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    def secret(self) -> str:
        """Hexadecimal. Made once; keys of all uses are derived from it."""
        path = self.path / "secret"
        if not path.exists():
            write_private(path, secrets.token_hex(32) + "\n")
        return path.read_text(encoding="utf-8").strip()

    def open_log(self, name: str) -> int:
        """A file descriptor that appends to `logs/<name>.log`."""
        path = self.logs / f"{name}.log"
        if path.exists() and path.stat().st_size > LONGEST_LOG:
            path.replace(path.with_suffix(".log.1"))
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


def _opened_lock(directory: DataDirectory) -> TextIO:
    try:
        directory.logs.mkdir(parents=True, exist_ok=True)
        return (directory.path / "lock").open("a+", encoding="utf-8")
    except OSError as error:
        raise FailedPrecondition(f"the data directory {directory.path} can't be used: {error}") from error


@contextmanager
def open_data_directory(path: Path) -> Iterator[DataDirectory]:
    """Made where missing, and locked for the time of the block. Raises FailedPrecondition when that can't be."""
    directory = DataDirectory(path.absolute())
    with _opened_lock(directory) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read().strip()
            raise FailedPrecondition(f"`ostinato up` (process {holder}) is running in {path} already") from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield directory
