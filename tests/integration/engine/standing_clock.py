"""A clock of the database that stands where a test puts it."""

from __future__ import annotations

from datetime import datetime

from tests.integration.engine.stage import Stage

_NOW = "create or replace function ostinato_now() returns timestamptz language sql volatile as $$ select {} $$"


async def at_time(stage: Stage, instant: datetime) -> None:
    """The database's clock stands still there."""
    await stage.db.execute(_NOW.format(f"timestamptz '{instant.isoformat()}'"))


async def triage_today(stage: Stage) -> None:
    """There are partitions for the runs of today only."""
    await stage.db.execute(_NOW.format("clock_timestamp()"))
    await stage.triage_until_quiet()
