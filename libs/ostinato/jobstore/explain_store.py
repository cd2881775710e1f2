"""What explains a job to people, beside its row: records of triages, what waits, what became of a slot.

For people who ask, not for loops.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from ostinato.pb.scheduler.v1 import jobs_pb2
from ostinato.scheduling.explaining import Waiting
from ostinato.scheduling.occurrence import OccurrenceOutcome
from ostinato.storage.database import Reader
from ostinato.storage.transaction import Row


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """`record` is the JSON of a TriageRecord."""

    at: datetime
    record: str


async def load_triage_records(reader: Reader, job_id: int, *, limit: int) -> list[StoredRecord]:
    """Newest first."""
    rows = await reader.fetch(
        "select at, record from triage_log where job_id = $1 order by at desc limit $2", job_id, limit
    )
    return [StoredRecord(row["at"], row["record"]) for row in rows]


_PENDING = "from trigger where job_id = $1 and consumed_at is null and not_before is null"
_OWN = "from trigger where job_id = $1 and consumed_at is null and not_before is not null"
_WAITING = f"""
select (select count(*) from (select {_PENDING} limit $2) p) as pending,
       (select created_at {_PENDING} order by created_at, order_in_batch, trigger_id limit 1) as oldest_at,
       (select count(*) from (select {_OWN} limit $2) p) as own_runs,
       (select not_before {_OWN} order by not_before limit 1) as earliest_at
"""


async def load_waiting(reader: Reader, job_id: int, *, most: int) -> Waiting:
    """Counting stops at `most` of either kind."""
    row = await reader.fetchrow(_WAITING, job_id, most)
    assert row is not None
    return Waiting(**dict(row))


@dataclass(frozen=True, slots=True)
class StoredOutcome:
    """Of the slot `slot`, or of all in [slot, until_slot)."""

    slot: datetime
    until_slot: datetime | None
    outcome: OccurrenceOutcome
    reason: str
    invocation_id: int | None
    decided_at: datetime


_COLUMNS = "slot, until_slot, outcome, reason, invocation_id, decided_at"
_OUTCOME = f"""
select {_COLUMNS}
  from occurrence
 where job_id = $1 and slot <= $2
 order by slot desc, fold_tag
 limit 1
"""


def _outcome(row: Row) -> StoredOutcome:
    return StoredOutcome(
        slot=row["slot"],
        until_slot=row["until_slot"],
        outcome=OccurrenceOutcome(row["outcome"]),
        reason=row["reason"],
        invocation_id=row["invocation_id"],
        decided_at=row["decided_at"],
    )


async def find_outcome(reader: Reader, job_id: int, at: datetime) -> StoredOutcome | None:
    """The last row that begins no later than `at`; whether it is about `at` is for the caller to see."""
    row = await reader.fetchrow(_OUTCOME, job_id, at)
    return None if row is None else _outcome(row)


# Nothing lies in a range but what is wrong, so one that reaches over an instant is among the last rows before it.
_REACHING_OVER = f"""
select {_COLUMNS}
  from (select * from occurrence where job_id = $1 and slot < $2 order by slot desc, fold_tag desc limit 1000) o
 where until_slot > $2
 order by slot
"""
_BETWEEN = f"""
select {_COLUMNS}
  from occurrence
 where job_id = $1 and slot between $2 and $3
 order by slot, fold_tag
 limit $4
"""


async def load_outcomes(
    reader: Reader, job_id: int, start: datetime, end: datetime, *, limit: int
) -> list[StoredOutcome]:
    """Ranges that begin before `start` and reach over it, then `limit` at most that begin in [start, end], in order."""
    reaching = await reader.fetch(_REACHING_OVER, job_id, start)
    return [_outcome(row) for row in [*reaching, *await reader.fetch(_BETWEEN, job_id, start, end, limit)]]


async def load_pending_slots(reader: Reader, job_id: int, start: datetime, end: datetime) -> list[datetime]:
    """Those in [start, end] whose triggers have not been consumed, in order."""
    rows = await reader.fetch(
        "select slot from trigger where job_id = $1 and consumed_at is null and slot between $2 and $3 order by slot",
        job_id,
        start,
        end,
    )
    return [row[0] for row in rows]


async def has_pending_slot(reader: Reader, job_id: int, slot: datetime) -> bool:
    """A trigger of that slot has not been consumed."""
    found: bool = await reader.fetchval(
        "select exists (select from trigger where job_id = $1 and consumed_at is null and slot = $2)", job_id, slot
    )
    return found


@dataclass(frozen=True, slots=True)
class Namesake:
    """A job whose definition may name another one as downstream."""

    project: str
    name: str
    realm: str
    definition: bytes
    enabled: bool
    paused: bool
    last_success_at: datetime | None
    last_completed_at: datetime | None


_MENTIONING = """
select project, name, realm, definition, enabled, paused, last_success_at, last_completed_at
  from job
 where project = $1 and position($2::bytea in definition) > 0
 order by name
 limit $3
"""


async def find_jobs_mentioning(reader: Reader, project: str, name: str, *, limit: int) -> list[Namesake]:
    """Candidates for upstream jobs: reads the definitions of the whole project."""
    entry = jobs_pb2.Downstream(job=name).SerializeToString()  # as it stands in a definition, but for its condition
    return [Namesake(**dict(row)) for row in await reader.fetch(_MENTIONING, project, entry, limit)]
