"""Reports whose token was rejected, counted by run and by what was wrong: for people who ask why a run does not end.

Who sent them is not known, and nothing is decided by them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from ostinato.auth.notification_token import TokenFault, TokenRejection
from ostinato.scheduling.invocation_id import InvocationId
from ostinato.storage.database import Reader
from ostinato.storage.transaction import Tx


@dataclass(frozen=True, slots=True)
class RejectedReport:
    """All that came for one run with one fault."""

    invocation_id: InvocationId
    fault: TokenFault
    count: int
    first_at: datetime
    last_at: datetime


# Rows of one key meet in an update, so all writers take them in the order of the key.
_RECORD = """
insert into rejected_report as r (invocation_id, fault, first_at, last_at, count)
select i.invocation_id, w.fault, n.now, n.now, w.count
  from unnest($1::bigint[], $2::bigint[], $3::smallint[], $4::bigint[]) as w(invocation_id, job_id, fault, count)
  join invocation i on i.invocation_id = w.invocation_id and i.job_id = w.job_id
 cross join (select ostinato_now() as now) n
 where i.finished_at is null
 order by i.invocation_id, w.fault
    on conflict (invocation_id, fault) do update
   set last_at = greatest(r.last_at, excluded.last_at), count = r.count + excluded.count
"""


async def record_rejected_reports(tx: Tx, counts: Mapping[TokenRejection, int]) -> None:
    """Adds them up. What claims to be of a run that is not there, is another job's or has ended leaves nothing."""
    if not counts:
        return
    await tx.execute(
        _RECORD,
        [each.invocation_id for each in counts],
        [each.job_id for each in counts],
        [each.fault for each in counts],
        list(counts.values()),
    )


_LOAD = """
select invocation_id, fault, count, first_at, last_at
  from rejected_report
 where invocation_id = any($1::bigint[]) and fault = any($2::smallint[])
 order by invocation_id, fault
"""


async def load_rejected_reports(reader: Reader, ids: Collection[InvocationId]) -> list[RejectedReport]:
    """Those of the runs `ids`. Faults that only a later release knows are left out."""
    if not ids:
        return []
    rows = await reader.fetch(_LOAD, list(ids), list(TokenFault))
    return [
        RejectedReport(
            invocation_id=InvocationId(row["invocation_id"]),
            fault=TokenFault(row["fault"]),
            count=row["count"],
            first_at=row["first_at"],
            last_at=row["last_at"],
        )
        for row in rows
    ]
