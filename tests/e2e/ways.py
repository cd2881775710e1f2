"""How installations are made here: on their database directly, or with OSTINATO_E2E_PGBOUNCER=1 through pgbouncers;
on the queue in it, or with OSTINATO_E2E_CLOUD=1 on local clouds.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

import asyncpg
import pytest

from chaos.cloud import Cloud, open_cloud
from ostinato.testing.pgbouncer import PgBouncer, find_pgbouncer, open_pgbouncer
from ostinato.testing.postgres import with_database

PGBOUNCER_EVERYWHERE = os.environ.get("OSTINATO_E2E_PGBOUNCER", "0") != "0"
CLOUD_EVERYWHERE = os.environ.get("OSTINATO_E2E_CLOUD", "0") != "0"
# Triggers a second of a load. A task costs three processes a request there.
RATE = 20 if CLOUD_EVERYWHERE else 50
NOT_INSTALLED = "pgbouncer is not installed (on Debian: apt-get install pgbouncer)"
not_behind_pgbouncer = pytest.mark.skipif(
    PGBOUNCER_EVERYWHERE, reason="about a server that nothing stands before: OSTINATO_E2E_PGBOUNCER is set"
)


def only_embedded(what: str) -> pytest.MarkDecorator:
    """For tests of something that Cloud Tasks does in its own way, or that does not exist with it: `what` says why."""
    return pytest.mark.skipif(CLOUD_EVERYWHERE, reason=f"OSTINATO_E2E_CLOUD is set: {what}")


_DEPLOYING = Path(__file__).parents[2] / "docs" / "deploying.md"
_DOCUMENTED = "alter role ostinato_runtime "


def settings_through(bouncer: PgBouncer) -> dict[str, str]:
    """What services are told to reach a database through it."""
    return {"OSTINATO_DATABASE_URL": bouncer.url, "OSTINATO_DATABASE_PREPARED_STATEMENTS": "false"}


@asynccontextmanager
async def open_tasks_way(folder: Path) -> AsyncIterator[Cloud | None]:
    """Where the tasks of an installation wait, the way that this run of the tests takes; None: in its database."""
    if not CLOUD_EVERYWHERE:
        yield None
        return
    async with open_cloud(folder) as cloud:
        yield cloud


@asynccontextmanager
async def open_way(url: str, superuser_url: str, folder: Path) -> AsyncIterator[Mapping[str, str]]:
    """The settings of services that use the database `url`, the way that this run of the tests takes."""
    if not PGBOUNCER_EVERYWHERE:
        yield {"OSTINATO_DATABASE_URL": url}
        return
    async with open_pooled_way(url, superuser_url, folder) as bouncer:
        yield settings_through(bouncer)


@asynccontextmanager
async def open_pooled_way(url: str, superuser_url: str, folder: Path) -> AsyncIterator[PgBouncer]:
    """A pgbouncer before the database, whose role has the limits that docs/deploying.md gives it. Skips without one."""
    program = find_pgbouncer()
    if program is None:
        pytest.skip(NOT_INSTALLED)
    await _limit_role(url, superuser_url)
    async with open_pgbouncer(program, url, folder / "pgbouncer") as bouncer:
        yield bouncer


async def _limit_role(url: str, superuser_url: str) -> None:
    """In this database alone: others may use the server."""
    parts = urlsplit(url)
    database = unquote(parts.path.removeprefix("/"))
    documented = [line for line in _DEPLOYING.read_text(encoding="utf-8").splitlines() if line.startswith(_DOCUMENTED)]
    assert documented
    connection = await asyncpg.connect(with_database(superuser_url, database))
    try:
        for line in documented:
            await connection.execute(
                line.replace(_DOCUMENTED, f'alter role "{unquote(parts.username or "")}" in database "{database}" ')
            )
    finally:
        await connection.close()
