"""Table `job_schedule_span`: which schedule was in force when. One row per edit, pause and resume.

It tells later audits which slots existed at all; nothing at run time reads it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from ostinato.jobstore.job_store import JobId
from ostinato.storage.database import Reader
from ostinato.storage.transaction import Tx


@dataclass(frozen=True, slots=True)
class ScheduleSpan:
    """From `from_at` until the next span of the job begins. `schedule` and `terms` are the effective ones.

    While `paused` these are `triggered`, which has no slots, or its own, of which each has an outcome once it is
    resumed or edited.
    """

    job_id: JobId
    from_at: datetime
    schedule: str
    revision: str
    paused: bool
    enabled: bool
    terms: bytes = b""


_INSERT = """
insert into job_schedule_span as s (job_id, from_at, schedule, revision, paused, enabled, terms)
select n.job_id, greatest(n.from_at, (select max(p.from_at) from job_schedule_span p where p.job_id = n.job_id)),
       n.schedule, n.revision, n.paused, n.enabled, n.terms
  from unnest($1::bigint[], $2::timestamptz[], $3::text[], $4::text[], $5::boolean[], $6::boolean[], $7::bytea[])
       n(job_id, from_at, schedule, revision, paused, enabled, terms)
    on conflict (job_id, from_at) do update
   set schedule = excluded.schedule, revision = excluded.revision, paused = excluded.paused,
       enabled = excluded.enabled, terms = excluded.terms
"""


async def add_spans(tx: Tx, spans: Sequence[ScheduleSpan]) -> None:
    """At most one per job. Of two at the same instant the later edit stands, and none begins before the one before it:
    the clock of a database that took over may be behind.
    """
    if not spans:
        return
    await tx.execute(
        _INSERT,
        [span.job_id for span in spans],
        [span.from_at for span in spans],
        [span.schedule for span in spans],
        [span.revision for span in spans],
        [span.paused for span in spans],
        [span.enabled for span in spans],
        [span.terms for span in spans],
    )


async def load_spans(reader: Reader, job_id: int) -> list[ScheduleSpan]:
    """Oldest first."""
    rows = await reader.fetch(
        "select job_id, from_at, schedule, revision, paused, enabled, terms from job_schedule_span "
        "where job_id = $1 order by from_at",
        job_id,
    )
    return [
        ScheduleSpan(
            job_id=JobId(row["job_id"]),
            from_at=row["from_at"],
            schedule=row["schedule"],
            revision=row["revision"],
            paused=row["paused"],
            enabled=row["enabled"],
            terms=row["terms"],
        )
        for row in rows
    ]
