"""The PostgreSQL that is measured: one of our own with a durable disk, or the user's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg

from benchmarks import processor_time
from ostinato.storage.embedded.server import EmbeddedServer, ServerSettings
from ostinato.testing.server import temporary_home

# Big enough that no checkpoint falls into a measurement; nothing here makes a commit less durable.
_SETTINGS = ServerSettings(
    options=(
        ("max_connections", "200"),
        ("shared_buffers", "512MB"),
        ("max_wal_size", "4GB"),
        ("checkpoint_timeout", "15min"),
    )
)
_TOLD = ("server_version", "fsync", "synchronous_commit", "full_page_writes", "shared_buffers")


@dataclass(frozen=True, slots=True)
class Server:
    """`url` belongs to a role that may create databases. `postmaster` is None when it is not ours to look at."""

    url: str
    facts: dict[str, str]
    postmaster: int | None = None

    @property
    def processor_seconds(self) -> float | None:
        return None if self.postmaster is None else processor_time.of_server(self.postmaster)

    @property
    def durable(self) -> bool:
        return self.facts["fsync"] == "on" and self.facts["synchronous_commit"] == "on"


@asynccontextmanager
async def open_server(url: str | None) -> AsyncIterator[Server]:
    """A server of our own unless `url` names one."""
    if url is not None:
        yield Server(url, await _facts(url))
        return
    with temporary_home() as home:
        own = EmbeddedServer(home, _SETTINGS)
        await own.start()
        try:
            assert own.process is not None
            yield Server(own.superuser_url(), await _facts(own.superuser_url()), own.process.pid)
        finally:
            await own.stop()


async def _facts(url: str) -> dict[str, str]:
    connection = await asyncpg.connect(url)
    try:
        rows = await connection.fetch("select name, current_setting(name) from unnest($1::text[]) u(name)", _TOLD)
    finally:
        await connection.close()
    return {row[0]: row[1] for row in rows}
