"""A throwaway PostgreSQL server for one test session."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ostinato.storage.embedded.server import EmbeddedServer, ServerSettings


@contextmanager
def temporary_home() -> Iterator[Path]:
    """A folder for a server's files. Unlike pytest's own, the account that the server runs as may enter it."""
    home = Path(tempfile.mkdtemp(prefix="ostinato-test-"))
    home.chmod(0o755)
    try:
        yield home
    finally:
        shutil.rmtree(home)


@contextmanager
def open_test_server() -> Iterator[str]:
    """A superuser's URL of a server that forgets everything at the end, or at a crash: no fsync."""
    with temporary_home() as home:
        server = EmbeddedServer(home, ServerSettings.fast())
        asyncio.run(server.start())
        try:
            yield server.superuser_url()
        finally:
            asyncio.run(server.stop())
