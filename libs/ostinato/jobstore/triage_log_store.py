"""Table `triage_log`: why each job did or did not start something. Appended only, dropped by the week."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from ostinato.storage.transaction import Tx


@dataclass(frozen=True, slots=True)
class TriageLogRow:
    """`record` is the JSON of a TriageRecord."""

    job_id: int
    record: str


_INSERT = """
insert into triage_log (job_id, at, record)
select n.job_id, $3, n.record
  from unnest($1::bigint[], $2::jsonb[]) n(job_id, record)
"""


async def append_triage_log(tx: Tx, rows: Sequence[TriageLogRow], *, now: datetime) -> None:
    if rows:
        await tx.execute(_INSERT, [row.job_id for row in rows], [row.record for row in rows], now)
