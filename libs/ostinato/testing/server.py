"""A throwaway PostgreSQL server for one test session."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ostinato.storage.embedded.server import EmbeddedServer, ServerSettings

_MEMORY = Path("/dev/shm")
_ENOUGH_BYTES = 4 << 30


@contextmanager
def temporary_home(*, in_memory: bool = False) -> Iterator[Path]:
    """A folder for a server's files. Unlike pytest's own, the account that the server runs as may enter it.

    `in_memory`: where the machine has room for it. A database per test is hundreds of small files, and half of the
    time of a suite on a disk goes into making and deleting them.
    """
    home = Path(tempfile.mkdtemp(prefix="ostinato-test-", dir=_MEMORY if in_memory and _has_room(_MEMORY) else None))
    home.chmod(0o755)
    try:
        yield home
    finally:
        shutil.rmtree(home)


def _has_room(folder: Path) -> bool:
    """A container's shared memory is small unless somebody asked for more, and may not be a place to run programs."""
    if not os.access(folder, os.W_OK):
        return False
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize >= _ENOUGH_BYTES and not disk.f_flag & os.ST_NOEXEC


@contextmanager
def open_test_server() -> Iterator[str]:
    """A superuser's URL of a server that forgets everything at the end, or at a crash: no fsync."""
    with temporary_home(in_memory=True) as home:
        server = EmbeddedServer(home, ServerSettings.fast())
        asyncio.run(server.start())
        try:
            yield server.superuser_url()
        finally:
            asyncio.run(server.stop())
