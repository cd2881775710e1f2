"""What stands still although something should move it: read by the reconciler, one bounded statement per question.

Questions that belong together are asked of one snapshot, so that what they miss together was missing. A finding may be
a moment old; whoever acts on one looks again under the lock of what it changes.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta

from google.protobuf.message import DecodeError

from ostinato.errors import InvalidArgument
from ostinato.jobstore.job_definition_codec import decode_definition
from ostinato.scheduling.invocation import InvocationStatus
from ostinato.scheduling.invocation_id import InvocationId
from ostinato.storage.database import Reader
from ostinato.storage.transaction import Row, Tx

# (job id, project id)
JobRef = tuple[int, int]

_INITIAL = f"({InvocationStatus.STARTING.value}, {InvocationStatus.RETRYING.value})"

_ENDED = """
select distinct job_id, project_id
  from invocation
 where finished_at < (select ostinato_now()) - $1::interval and job_id > $2
 order by job_id
 limit $3
"""


@dataclass(frozen=True, slots=True)
class FoundJobs:
    """`last`: the last job looked at, None when there are no more."""

    jobs: Sequence[JobRef]
    last: int | None


async def find_ended(reader: Reader, *, older_than: timedelta, after: int, limit: int) -> FoundJobs:
    """Jobs behind the id `after` with an invocation that ended that long ago and is not acknowledged yet."""
    rows = await reader.fetch(_ENDED, older_than, after, limit)
    return FoundJobs([(row[0], row[1]) for row in rows], _last(rows, limit))


def _last(rows: Sequence[Row], limit: int) -> int | None:
    return rows[-1][0] if len(rows) == limit else None


@dataclass(frozen=True, slots=True)
class WaitingLaunch:
    """An invocation that no launch has brought anywhere yet, and the task that should."""

    invocation_id: InvocationId
    job_id: int
    project_id: int
    launch_task_id: int


_WAITING_COLUMNS = "i.invocation_id, i.job_id, i.project_id, i.launch_task_id"
_WAITING = f"""
select {_WAITING_COLUMNS}
  from invocation i
 where i.status in {_INITIAL} and i.created_at < (select ostinato_now()) - $1::interval and i.invocation_id > $2
 order by i.invocation_id
 limit $3
"""


async def find_waiting_launches(
    reader: Reader, *, older_than: timedelta, after: int, limit: int
) -> list[WaitingLaunch]:
    """Invocations that have been STARTING or RETRYING for that long, behind the id `after`."""
    return [WaitingLaunch(*row) for row in await reader.fetch(_WAITING, older_than, after, limit)]


_LOCK_WAITING = f"""
select {_WAITING_COLUMNS}
  from unnest($1::bigint[], $2::bigint[]) w(invocation_id, launch_task_id)
  join invocation i on i.invocation_id = w.invocation_id
 where i.status in {_INITIAL} and i.launch_task_id = w.launch_task_id
 order by i.invocation_id
   for no key update of i skip locked
"""


async def lock_waiting_launches(tx: Tx, waiting: Collection[WaitingLaunch]) -> list[WaitingLaunch]:
    """Locks those that still wait for the same task and that nobody is changing right now."""
    rows = await tx.fetch(
        _LOCK_WAITING, [entry.invocation_id for entry in waiting], [entry.launch_task_id for entry in waiting]
    )
    return [WaitingLaunch(*row) for row in rows]


_SET_LAUNCH_TASKS = """
update invocation i
   set launch_task_id = n.task_id
  from unnest($1::bigint[], $2::bigint[]) n(invocation_id, task_id)
 where i.invocation_id = n.invocation_id
"""


async def set_launch_tasks(tx: Tx, waiting: Sequence[WaitingLaunch], task_ids: Sequence[int]) -> None:
    """Which task launches each of the locked invocations from now on. No change of state, so the version stays."""
    await tx.execute(_SET_LAUNCH_TASKS, [entry.invocation_id for entry in waiting], list(task_ids))


# The recursion hops from job to job over the index of pending triggers and reads the oldest one of each. A pause keeps
# those that wait for a run of their own, and the resume brings a triage.
_WAITING_JOBS = """
with recursive oldest as (
    (select t.job_id, t.created_at
       from trigger t
      where t.consumed_at is null and t.not_before is null and t.job_id > $2
      order by t.job_id, t.created_at
      limit 1)
    union all
    select n.job_id, n.created_at
      from oldest o
     cross join lateral (
        select t.job_id, t.created_at
          from trigger t
         where t.consumed_at is null and t.not_before is null and t.job_id > o.job_id
         order by t.job_id, t.created_at
         limit 1
     ) n
), earliest as (
    (select t.job_id, t.not_before
       from trigger t
      where t.consumed_at is null and t.not_before is not null and t.job_id > $2
      order by t.job_id, t.not_before
      limit 1)
    union all
    select n.job_id, n.not_before
      from earliest e
     cross join lateral (
        select t.job_id, t.not_before
          from trigger t
         where t.consumed_at is null and t.not_before is not null and t.job_id > e.job_id
         order by t.job_id, t.not_before
         limit 1
     ) n
), waiting as (
    select job_id, created_at as since, false as stays_paused from oldest
    union all
    select job_id, not_before, true from earliest
), found as (
    select distinct j.job_id
      from waiting w
      join job j on j.job_id = w.job_id
     where w.since < (select ostinato_now()) - $1::interval
       and not (w.stays_paused and j.paused and j.enabled)
     order by 1
     limit $3
)
select j.job_id, j.project_id, j.enabled and not j.paused as starts, j.definition,
       (select count(*) from invocation i where i.job_id = j.job_id and i.finished_at is null) as active
  from found f
  join job j on j.job_id = f.job_id
 order by 1
"""


async def find_waiting_jobs(reader: Reader, *, older_than: timedelta, after: int, limit: int) -> FoundJobs:
    """Jobs behind the id `after` with a trigger that may have started a run that long ago, while one may start.

    Triggers carry their callers' times, so this is only where to look closer.
    """
    rows = await reader.fetch(_WAITING_JOBS, older_than, after, limit)
    return FoundJobs([(row["job_id"], row["project_id"]) for row in rows if not _is_full(row)], _last(rows, limit))


def _is_full(row: Row) -> bool:
    """The end of any of its runs brings a triage; where none may start, a triage drops what waits."""
    return bool(row["starts"]) and row["active"] >= _limit(row["definition"])


def _limit(definition: bytes) -> int:
    """What can't be read starts nothing, as triage has it."""
    try:
        return decode_definition(definition).policy.max_concurrent_invocations
    except (DecodeError, InvalidArgument):
        return 0


_IDLE = """
select w.job_id
  from unnest($1::bigint[]) w(job_id)
 where not exists (select from invocation i where i.job_id = w.job_id)
"""


async def find_idle(reader: Reader, job_ids: Collection[int]) -> set[int]:
    """Those of `job_ids` that have no invocation, running or waiting to be acknowledged."""
    return {row[0] for row in await reader.fetch(_IDLE, list(job_ids))}
