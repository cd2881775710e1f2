"""When invocations must be looked at: found, locked and moved on in sets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from ostinato.jobstore.invocation_store import StoredInvocation, invocation_from_row
from ostinato.scheduling.invocation_id import InvocationId
from ostinato.storage.database import Reader
from ostinato.storage.transaction import Tx


@dataclass(frozen=True, slots=True)
class NextDeadline:
    """The earliest deadline of what has not ended, and the database's time."""

    at: datetime | None
    now: datetime


@dataclass(frozen=True, slots=True)
class DueRun:
    """A locked one that was to be looked at from `due_at` on."""

    invocation: StoredInvocation
    due_at: datetime


# Those that have ended keep their deadline until triage moves them to the history, hence the filter.
_NEXT = """
select ostinato_now() as now,
       (select deadline_at from invocation where finished_at is null order by deadline_at limit 1) as at
"""

_LOCK_DUE = """
select invocation_id, job_id, project_id, version, status, attempt, launch_attempts, created_at, started_at,
       scheduled_for, last_heartbeat_at, ostinato_now() as read_at, deadline_at
  from invocation
 where deadline_at <= (select ostinato_now()) and finished_at is null
 order by deadline_at
 limit $1
   for no key update skip locked
"""

_MOVE = """
update invocation i
   set deadline_at = w.deadline_at
  from unnest($1::bigint[], $2::timestamptz[]) as w(invocation_id, deadline_at)
 where i.invocation_id = w.invocation_id
"""


async def next_deadline(reader: Reader) -> NextDeadline:
    row = await reader.fetchrow(_NEXT)
    assert row is not None, "a select without a table has one row"
    return NextDeadline(row["at"], row["now"])


async def lock_due_deadlines(tx: Tx, *, limit: int) -> list[DueRun]:
    """Locks what is due and not locked by anybody else, the longest overdue first."""
    return [DueRun(invocation_from_row(row), row["deadline_at"]) for row in await tx.fetch(_LOCK_DUE, limit)]


async def move_deadlines(tx: Tx, deadlines: Mapping[InvocationId, datetime]) -> None:
    """For locked rows. No change of state, so their versions stay."""
    if deadlines:
        await tx.execute(_MOVE, list(deadlines.keys()), list(deadlines.values()))
