"""What triage reads and writes of jobs and invocations, for many jobs per statement.

The caller holds the locks of the jobs (lock order: job, job_cron, invocation, queue rows). Final invocations
absorb, so moving one to the history needs no lock of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from ostinato.errors import Contention
from ostinato.jobstore.invocation_store import InvocationInput
from ostinato.jobstore.job_store import JobId
from ostinato.scheduling.invocation import InvocationStatus
from ostinato.scheduling.invocation_id import InvocationId
from ostinato.storage.database import Reader
from ostinato.storage.transaction import Row, Tx, affected


@dataclass(frozen=True, slots=True)
class TriagedJobRow:
    """The columns of a locked job that triage needs. `definition` is a serialized JobConfig.

    `wake_at`: when the triage task is due that an earlier triage added for it. `waits_for_rewind`: so
    did its schedule just before the job was locked. Whatever changed since has asked for a triage of its own.
    """

    job_id: JobId
    project_id: int
    project: str
    name: str
    uid: UUID
    definition: bytes
    enabled: bool
    paused: bool
    revision: str
    version: int
    wake_at: datetime | None = None
    last_start_at: datetime | None = None
    waits_for_rewind: bool = False


# What follows in the transaction touches rows by key or version only. Without this the planner may prefer to read
# whole tables, because it takes 500 rows of a table that is mostly in memory for 500 reads of a disk.
_LOCK_JOBS = """
select job_id, project_id, project, name, uid, definition, enabled, paused, revision, version, wake_at,
       last_start_at,
       coalesce((select c.enabled and c.last_rewind_at is null from job_cron c where c.job_id = job.job_id), false)
  from job
 where job_id = any($1::bigint[]) and (select set_config('enable_seqscan', 'off', true)) is not null
 order by job_id
   for no key update skip locked
"""


async def lock_free_jobs(tx: Tx, job_ids: Collection[int]) -> list[TriagedJobRow]:
    """Locks those that exist and nobody else holds, in job_id order. Begins a triage's transaction."""
    return [TriagedJobRow(*row) for row in await tx.fetch(_LOCK_JOBS, list(job_ids))]


async def load_existing(reader: Reader, job_ids: Collection[int]) -> set[int]:
    """Which of `job_ids` exist, locked or not."""
    rows = await reader.fetch("select job_id from job where job_id = any($1::bigint[])", list(job_ids))
    return {row[0] for row in rows}


class ActiveRow(NamedTuple):
    """An invocation that no triage has acknowledged yet. The error says something of final ones only."""

    invocation_id: InvocationId
    job_id: int
    status: InvocationStatus
    finished_at: datetime | None
    error_reason: str
    error_message: str


# `offset 0` keeps it a probe of the index per job: the planner can't know how few active invocations a job has.
_LOAD_ACTIVE = """
select a.invocation_id, a.job_id, a.status, a.finished_at, a.error_reason, a.error_message
  from unnest($1::bigint[]) w(job_id)
 cross join lateral (
    select i.invocation_id, i.job_id, i.status, i.finished_at, i.error_reason, i.error_message
      from invocation i
     where i.job_id = w.job_id
    offset 0
 ) a
"""


async def load_active(tx: Tx, job_ids: Collection[int]) -> dict[int, list[ActiveRow]]:
    """By job. Jobs without any are left out."""
    active: dict[int, list[ActiveRow]] = {}
    for row in await tx.fetch(_LOAD_ACTIVE, list(job_ids)):
        active.setdefault(row[1], []).append(_active_from_row(row))
    return active


def _active_from_row(row: Row) -> ActiveRow:
    invocation_id, job_id, status, finished_at, error_reason, error_message = row
    return ActiveRow(
        InvocationId(invocation_id), job_id, InvocationStatus(status), finished_at, error_reason, error_message
    )


_INSERT_INPUTS = """
insert into invocation_input (invocation_id, job_name, job_uid, definition, incoming)
select * from unnest($1::bigint[], $2::text[], $3::uuid[], $4::bytea[], $5::bytea[])
    on conflict do nothing
returning invocation_id
"""


async def insert_inputs(tx: Tx, inputs: Sequence[tuple[InvocationId, InvocationInput]]) -> set[InvocationId]:
    """Claims the ids that are free, and only those. An input lives as long as its invocation, history included."""
    rows = await tx.fetch(
        _INSERT_INPUTS,
        [invocation_id for invocation_id, _ in inputs],
        [new.job_name for _, new in inputs],
        [new.job_uid for _, new in inputs],
        [new.definition for _, new in inputs],
        [new.incoming for _, new in inputs],
    )
    return {InvocationId(row[0]) for row in rows}


FIRST_VERSION = 1  # of an invocation's row


class NewInvocation(NamedTuple):
    """An invocation in status STARTING. `deadline_at`: when to look at it first."""

    invocation_id: InvocationId
    job_id: int
    project_id: int
    launch_task_id: int
    deadline_at: datetime
    scheduled_for: datetime | None
    triggered_by: str
    revision: str
    attempt: int = 1
    retry_of: InvocationId | None = None


# Two tables, one round trip: with the first launch goes what the log says of it.
_INSERT_INVOCATIONS = f"""
with logged as (
    insert into invocation_log (invocation_id, version, line_no, at, line)
    select n.invocation_id, {FIRST_VERSION}, 0, $9, $13
      from unnest($1::bigint[]) n(invocation_id)
     where $13::text is not null
)
insert into invocation (invocation_id, job_id, project_id, status, launch_task_id, created_at, deadline_at,
                        scheduled_for, triggered_by, revision, attempt, retry_of, launch_attempts, started_at,
                        log_bytes)
select n.invocation_id, n.job_id, n.project_id, {InvocationStatus.STARTING.value}, n.launch_task_id, $9,
       n.deadline_at, n.scheduled_for, n.triggered_by, n.revision, n.attempt, n.retry_of, $12,
       case when $13::text is not null then ostinato_now() end, coalesce(octet_length($13) + 1, 0)
  from unnest($1::bigint[], $2::bigint[], $3::int[], $4::bigint[], $5::timestamptz[], $6::timestamptz[], $7::text[],
              $8::text[], $10::smallint[], $11::bigint[])
       n(invocation_id, job_id, project_id, launch_task_id, deadline_at, scheduled_for, triggered_by, revision, attempt,
         retry_of)
"""


async def insert_invocations(
    tx: Tx, invocations: Sequence[NewInvocation], *, now: datetime, launch_line: str | None
) -> None:
    """Their inputs are there already, which makes their ids unique.

    `launch_line`: the first launch attempt of each begins now, and this is what the log says of it.
    """
    await tx.execute(
        _INSERT_INVOCATIONS,
        [new.invocation_id for new in invocations],
        [new.job_id for new in invocations],
        [new.project_id for new in invocations],
        [new.launch_task_id for new in invocations],
        [new.deadline_at for new in invocations],
        [new.scheduled_for for new in invocations],
        [new.triggered_by for new in invocations],
        [new.revision for new in invocations],
        now,
        [new.attempt for new in invocations],
        [new.retry_of for new in invocations],
        int(launch_line is not None),
        launch_line,
    )


_HISTORY_COLUMNS = """
    invocation_id, job_id, project_id, status, attempt, launch_attempts, created_at, started_at, finished_at,
    deadline_at, scheduled_for, triggered_by, revision, view_url, error_reason, error_message, error_retryable,
    result, outgoing, retry_of, last_heartbeat_at
"""
# Locked in the order of their ids, as everybody locks invocations; deleted by row version, whatever the statistics say.
_MOVE_TO_HISTORY = f"""
with locked as materialized (
    select i.ctid
      from invocation i
     where i.invocation_id = any($1::bigint[]) and i.finished_at is not null
     order by i.invocation_id
       for update
), gone as (
    delete from invocation where ctid = any(array(select ctid from locked))
    returning {_HISTORY_COLUMNS}
)
insert into invocation_history ({_HISTORY_COLUMNS})
select {_HISTORY_COLUMNS} from gone
"""


async def move_to_history(tx: Tx, invocation_ids: Sequence[InvocationId]) -> None:
    """Final invocations of locked jobs leave the active table."""
    if not invocation_ids:
        return
    moved = affected(await tx.execute(_MOVE_TO_HISTORY, invocation_ids))
    if moved != len(invocation_ids):
        raise Contention(f"{len(invocation_ids) - moved} final invocations vanished under their jobs' locks")


class JobMarks(NamedTuple):
    """What a triage moves on its job. None leaves a value; times only ever move forward."""

    job_id: int
    last_scheduled_at: datetime | None = None
    last_completed_at: datetime | None = None
    last_success_at: datetime | None = None
    last_failure_at: datetime | None = None
    last_status: InvocationStatus | None = None
    last_error: str | None = None
    last_start_at: datetime | None = None
    wake_at: datetime | None = None  # this one is always written


# Two tables, one round trip: with each triage goes the record that explains it.
_MARK_JOBS = """
with logged as (
    insert into triage_log (job_id, at, record)
    select n.job_id, $8, n.record
      from unnest($1::bigint[], $10::jsonb[]) n(job_id, record)
     where n.record is not null
)
update job j
   set last_triage_at = $8,
       last_scheduled_at = greatest(j.last_scheduled_at, m.last_scheduled_at),
       last_completed_at = greatest(j.last_completed_at, m.last_completed_at),
       last_success_at = greatest(j.last_success_at, m.last_success_at),
       last_failure_at = greatest(j.last_failure_at, m.last_failure_at),
       last_status = coalesce(m.last_status, j.last_status),
       last_error = coalesce(m.last_error, j.last_error),
       last_start_at = greatest(j.last_start_at, m.last_start_at),
       wake_at = m.wake_at
  from unnest($1::bigint[], $2::timestamptz[], $3::timestamptz[], $4::timestamptz[], $5::timestamptz[], $6::smallint[],
              $7::text[], $9::timestamptz[], $11::timestamptz[])
       m(job_id, last_scheduled_at, last_completed_at, last_success_at, last_failure_at, last_status, last_error,
         wake_at, last_start_at)
 where j.job_id = m.job_id
"""


async def mark_jobs(tx: Tx, marks: Sequence[JobMarks], records: Sequence[str | None], *, now: datetime) -> None:
    """Writes the marks of locked jobs, that they were triaged, and the TriageRecord (JSON) of each that has one."""
    await tx.execute(
        _MARK_JOBS,
        [mark.job_id for mark in marks],
        [mark.last_scheduled_at for mark in marks],
        [mark.last_completed_at for mark in marks],
        [mark.last_success_at for mark in marks],
        [mark.last_failure_at for mark in marks],
        [mark.last_status for mark in marks],
        [mark.last_error for mark in marks],
        now,
        [mark.wake_at for mark in marks],
        records,
        [mark.last_start_at for mark in marks],
    )


_SET_ERROR = """
update job
   set last_error = $2
 where job_id = (select j.job_id from job j where j.job_id = $1 for no key update skip locked)
"""


async def set_job_error(tx: Tx, job_id: int, error: str) -> None:
    """What keeps the job from running. Waits for nobody: while the job is locked elsewhere nothing is written."""
    await tx.execute(_SET_ERROR, job_id, error)
