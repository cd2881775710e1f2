"""What is forgotten after a while."""

from __future__ import annotations

from datetime import datetime, timedelta

from ostinato.scheduling.invocation_id import id_range
from ostinato.storage.database import Database, Reader
from ostinato.storage.transaction import affected

# By row version, in a bounded set, skipping what a triage or another engine holds.
_PURGE_TRIGGERS = """
delete from trigger
 where ctid = any(array(
    select ctid
      from trigger
     where consumed_at < (select ostinato_now()) - $1::interval
     order by consumed_at
     limit $2
       for update skip locked
 ))
"""

_HAS_ACTIVE = "select exists (select from invocation where invocation_id >= $1 and invocation_id < $2)"


async def purge_consumed_triggers(db: Database, *, older_than: timedelta, limit: int) -> int:
    """Forgets consumed ids; from then on they are new again. Returns how many."""
    return affected(await db.execute(_PURGE_TRIGGERS, older_than, limit))


async def has_active_invocations(reader: Reader, start: datetime, end: datetime) -> bool:
    """Whether an invocation created in [start, end) has not reached the history."""
    return bool(await reader.fetchval(_HAS_ACTIVE, *id_range(start, end)))


async def database_time(reader: Reader) -> datetime:
    now: datetime = await reader.fetchval("select ostinato_now()")
    return now
