"""Table `job_cron`: when each job's schedule is due next, with all that a tick needs."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from ostinato.jobstore.job_store import JobId
from ostinato.scheduling.cron_machine import CronState
from ostinato.storage.database import Reader
from ostinato.storage.transaction import Row, Tx


@dataclass(frozen=True, slots=True)
class JobCronRow:
    """One row of `job_cron`. `schedule` and `terms` are the effective ones.

    While the job is paused these are `triggered` and nothing, or its own if it is held (`CronState.is_held`).
    """

    job_id: JobId
    project_id: int
    job_name: str
    schedule: str
    state: CronState
    terms: bytes = b""


_COLUMNS = (
    "c.job_id, c.project_id, c.job_name, c.schedule, c.terms, c.enabled, c.generation, c.last_rewind_at, c.slot, "
    "c.due_at"
)


def _cron_from_row(row: Row) -> JobCronRow:
    return JobCronRow(
        job_id=JobId(row["job_id"]),
        project_id=row["project_id"],
        job_name=row["job_name"],
        schedule=row["schedule"],
        state=CronState(
            enabled=row["enabled"],
            generation=row["generation"],
            last_rewind_at=row["last_rewind_at"],
            slot=row["slot"],
            due_at=row["due_at"],
        ),
        terms=row["terms"],
    )


async def find_cron(reader: Reader, job_id: int) -> JobCronRow | None:
    row = await reader.fetchrow(f"select {_COLUMNS} from job_cron c where c.job_id = $1", job_id)
    return None if row is None else _cron_from_row(row)


_LOCK = f"select {_COLUMNS} from job_cron c where c.job_id = any($1::bigint[]) order by c.job_id for no key update"


async def lock_crons(tx: Tx, job_ids: Collection[int]) -> list[JobCronRow]:
    """Locks those that exist, in job_id order."""
    return [_cron_from_row(row) for row in await tx.fetch(_LOCK, list(job_ids))]


_LOCK_WAITING = f"""
select {_COLUMNS}
  from job_cron c
 where c.job_id = any($1::bigint[]) and c.enabled and c.last_rewind_at is null
 order by c.job_id
   for no key update
"""


async def lock_crons_waiting_for_rewind(tx: Tx, job_ids: Collection[int]) -> list[JobCronRow]:
    """Locks, in job_id order, those that count from the end of a run: `CronState.waits_for_rewind` in SQL."""
    return [_cron_from_row(row) for row in await tx.fetch(_LOCK_WAITING, list(job_ids))]


_LOCK_DUE = f"""
select {_COLUMNS}
  from job_cron c
 where c.due_at <= (select ostinato_now())
 order by c.due_at
 limit $1
   for no key update skip locked
"""


async def lock_due_crons(tx: Tx, limit: int) -> list[JobCronRow]:
    """Locks up to `limit` that are due and nobody else holds, longest due first."""
    return [_cron_from_row(row) for row in await tx.fetch(_LOCK_DUE, limit)]


_WAIT = "select min(due_at) - ostinato_now() from job_cron where due_at is not null"


async def find_wait(reader: Reader) -> timedelta | None:
    """How long until the next one is due, negative if a tick is late; None if nothing is planned."""
    wait: timedelta | None = await reader.fetchval(_WAIT)
    return wait


async def postpone_crons(tx: Tx, job_ids: Collection[int], until: datetime) -> None:
    """Looks at locked rows again at `until`. Their slots stay, so they are late and not lost."""
    await tx.execute("update job_cron set due_at = $2 where job_id = any($1::bigint[])", list(job_ids), until)


_SAVE = """
insert into job_cron as c (job_id, project_id, job_name, schedule, terms, enabled, generation, last_rewind_at, slot,
                           due_at)
select s.job_id, s.project_id, s.job_name, s.schedule, s.terms, s.enabled, s.generation, s.last_rewind_at, s.slot,
       s.due_at
  from unnest($1::bigint[], $2::int[], $3::text[], $4::text[], $5::bytea[], $6::boolean[], $7::bigint[],
              $8::timestamptz[], $9::timestamptz[], $10::timestamptz[])
       s(job_id, project_id, job_name, schedule, terms, enabled, generation, last_rewind_at, slot, due_at)
    on conflict (job_id) do update
   set schedule = excluded.schedule, terms = excluded.terms, enabled = excluded.enabled,
       generation = excluded.generation, last_rewind_at = excluded.last_rewind_at, slot = excluded.slot,
       due_at = excluded.due_at
"""


async def save_crons(tx: Tx, rows: Sequence[JobCronRow]) -> None:
    """Writes whole rows; those that exist are locked already."""
    if not rows:
        return
    await tx.execute(
        _SAVE,
        [row.job_id for row in rows],
        [row.project_id for row in rows],
        [row.job_name for row in rows],
        [row.schedule for row in rows],
        [row.terms for row in rows],
        *_state_columns(rows),
    )


_SAVE_STATES = """
update job_cron c
   set enabled = s.enabled, generation = s.generation, last_rewind_at = s.last_rewind_at, slot = s.slot,
       due_at = s.due_at
  from unnest($1::bigint[], $2::boolean[], $3::bigint[], $4::timestamptz[], $5::timestamptz[], $6::timestamptz[])
       s(job_id, enabled, generation, last_rewind_at, slot, due_at)
 where c.job_id = s.job_id
"""


async def save_cron_states(tx: Tx, rows: Sequence[JobCronRow]) -> None:
    """Writes what ticks and rewinds move; the rows are locked."""
    if rows:
        await tx.execute(_SAVE_STATES, [row.job_id for row in rows], *_state_columns(rows))


def _state_columns(
    rows: Sequence[JobCronRow],
) -> tuple[list[bool], list[int], list[datetime | None], list[datetime | None], list[datetime | None]]:
    states = [row.state for row in rows]
    return (
        [state.enabled for state in states],
        [state.generation for state in states],
        [state.last_rewind_at for state in states],
        [state.slot for state in states],
        [state.due_at for state in states],
    )


# That of a paused job is held, if it plans anything.
_IS_UNPLANNED = (
    "c.enabled and c.due_at is null and c.schedule <> 'triggered' "
    "and not exists (select from job j where j.job_id = c.job_id and j.paused)"
)
_UNPLANNED = f"select {_COLUMNS} from job_cron c where {_IS_UNPLANNED} and c.job_id > $1 order by c.job_id limit $2"
_LOCK_UNPLANNED = f"""
select {_COLUMNS}
  from job_cron c
 where {_IS_UNPLANNED} and c.job_id = any($1::bigint[])
 order by c.job_id
   for no key update
"""


async def find_unplanned(reader: Reader, *, after: int, limit: int) -> list[JobCronRow]:
    """Those behind the id `after` that have a schedule and are not due at any time."""
    return [_cron_from_row(row) for row in await reader.fetch(_UNPLANNED, after, limit)]


async def lock_unplanned(tx: Tx, job_ids: Collection[int]) -> list[JobCronRow]:
    """Those of `job_ids` of which that is still true, in job_id order."""
    return [_cron_from_row(row) for row in await tx.fetch(_LOCK_UNPLANNED, list(job_ids))]


_OVERDUE = """
select job_id from job_cron where due_at < (select ostinato_now()) - $1::interval order by due_at limit $2
"""


async def find_overdue(reader: Reader, *, older_than: timedelta, limit: int) -> set[int]:
    """Job ids of those that should have fired that long ago."""
    return {row[0] for row in await reader.fetch(_OVERDUE, older_than, limit)}
