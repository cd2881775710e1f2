"""Table `occurrence`, the ledger: what became of each slot of an absolute schedule.

One row per slot, inserted once by the transaction that decided it and never changed; the first decision stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from ostinato.scheduling.invocation_id import InvocationId
from ostinato.scheduling.occurrence import GAP_TAG, OccurrenceOutcome
from ostinato.storage.transaction import Tx


@dataclass(frozen=True, slots=True)
class Occurrence:
    """`until_slot`: all slots in [slot, until_slot) met this outcome; how many is never stored."""

    job_id: int
    slot: datetime
    outcome: OccurrenceOutcome
    until_slot: datetime | None = None
    invocation_id: InvocationId | None = None

    @property
    def fold_tag(self) -> int:
        return GAP_TAG if self.outcome is OccurrenceOutcome.SKIPPED_DST_GAP else 0


_INSERT = """
insert into occurrence (job_id, slot, until_slot, outcome, invocation_id, decided_at, fold_tag)
select n.job_id, n.slot, n.until_slot, n.outcome, n.invocation_id, $6, n.fold_tag
  from unnest($1::bigint[], $2::timestamptz[], $3::timestamptz[], $4::smallint[], $5::bigint[], $7::smallint[])
       n(job_id, slot, until_slot, outcome, invocation_id, fold_tag)
 order by n.job_id, n.slot, n.fold_tag
    on conflict do nothing
"""


async def insert_occurrences(tx: Tx, occurrences: Sequence[Occurrence], *, now: datetime) -> None:
    if not occurrences:
        return
    await tx.execute(
        _INSERT,
        [occurrence.job_id for occurrence in occurrences],
        [occurrence.slot for occurrence in occurrences],
        [occurrence.until_slot for occurrence in occurrences],
        [occurrence.outcome for occurrence in occurrences],
        [occurrence.invocation_id for occurrence in occurrences],
        now,
        [occurrence.fold_tag for occurrence in occurrences],
    )
