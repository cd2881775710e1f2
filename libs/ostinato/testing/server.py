"""A throwaway PostgreSQL server for one test session."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def open_test_server(home: Path) -> Iterator[str]:
    """A superuser's URL of a server whose data lives in `home`. It forgets everything at a crash: no fsync."""
    from ostinato.storage.embedded.server import EmbeddedServer, ServerSettings

    server = EmbeddedServer(home, ServerSettings.fast())
    server.start()
    try:
        yield server.superuser_url()
    finally:
        server.stop()
