"""A service's database at start: waits for the server and for the schema instead of dying, and tells why it waits."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TypeVar

from ostinato.clock import Clock
from ostinato.config.database import DatabaseSettings
from ostinato.errors import Transient, Unavailable
from ostinato.storage.database import Database, open_database
from ostinato.storage.migrate import MigrationLine
from ostinato.storage.transaction import Gate

T = TypeVar("T")

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0

_log = logging.getLogger(__name__)
_LATEST = """
select line, max(version) as version from ostinato_migration group by line
"""


@asynccontextmanager
async def open_database_when_ready(
    settings: DatabaseSettings, lines: Sequence[MigrationLine], *, clock: Clock, gate: Gate | None = None
) -> AsyncIterator[Database]:
    """A pool on a database that answers and has what `lines` need; waits for both as long as it takes."""
    async with AsyncExitStack() as stack:
        database = await patiently(lambda: stack.enter_async_context(open_database(settings, gate=gate)), clock)
        await patiently(lambda: require_schema(database, lines), clock)
        yield database


async def check_database(database: Database) -> None:
    """Raises Unavailable when the database does not answer."""
    await database.fetchval("select 1")


async def require_schema(database: Database, lines: Sequence[MigrationLine]) -> None:
    """Raises Unavailable while a migration that this build needs has not been applied. A newer schema is fine."""
    latest: dict[str, int] = {}
    if await database.fetchval("select to_regclass('ostinato_migration') is not null"):
        latest = {row["line"]: row["version"] for row in await database.fetch(_LATEST)}
    for line in lines:
        needed = line.files()[-1].version
        if latest.get(line.name, 0) < needed:
            raise Unavailable(f"the schema lacks {line.name}/{needed:04}: run `ostinato migrate`")


async def patiently(attempt: Callable[[], Awaitable[T]], clock: Clock) -> T:
    """Repeats what an absent or busy database interrupts, for as long as it takes, and tells why it waits."""
    pause = FIRST_PAUSE
    while True:
        try:
            return await attempt()
        except Transient as error:
            _log.warning("waiting: %s", error)
        await clock.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)
