"""What runs that are tried again hand on, and how their waiting triggers are brought forward."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from ostinato.scheduling.invocation_id import InvocationId
from ostinato.storage.database import Reader
from ostinato.storage.transaction import Tx


@dataclass(frozen=True, slots=True)
class RetriedRun:
    """What a run that is tried again hands on. `incoming` is a serialized TriggerList."""

    attempt: int
    scheduled_for: datetime | None
    incoming: bytes


_LOAD_RETRIED = """
select s.invocation_id, s.attempt, s.scheduled_for, n.incoming
  from unnest($1::bigint[]) w(invocation_id)
 cross join lateral (
    select i.invocation_id, i.attempt, i.scheduled_for from invocation i where i.invocation_id = w.invocation_id
     union all
    select h.invocation_id, h.attempt, h.scheduled_for from invocation_history h
     where h.invocation_id = w.invocation_id
 ) s
  join invocation_input n on n.invocation_id = s.invocation_id
"""


async def load_retried_runs(reader: Reader, ids: Collection[InvocationId]) -> dict[InvocationId, RetriedRun]:
    """Those of `ids` that still exist."""
    rows = await reader.fetch(_LOAD_RETRIED, list(ids))
    return {InvocationId(row[0]): RetriedRun(row[1], row[2], row[3]) for row in rows}


_BRING_FORWARD = """
update trigger
   set not_before = least(not_before, $3),
       emitted_by = case when not_before > $3 then $4 else emitted_by end,
       body = case when not_before > $3 then $5 else body end
 where job_id = $1 and trigger_id = $2
returning body
"""


async def bring_forward(
    tx: Tx, job_id: int, trigger_id: str, *, not_before: datetime, emitted_by: str, body: bytes
) -> bytes | None:
    """A locked job's waiting trigger may start at `not_before` if that is earlier, and then says so itself.

    Returns what it says, None if there is no such trigger.
    """
    said: bytes | None = await tx.fetchval(_BRING_FORWARD, job_id, trigger_id, not_before, emitted_by, body)
    return said
