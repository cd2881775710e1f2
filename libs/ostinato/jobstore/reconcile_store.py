"""What stands still although something should move it: read by the reconciler, one bounded statement per question.

A finding may be a moment old; whoever acts on one looks again under the lock of what it changes.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta

from ostinato.scheduling.invocation import InvocationStatus
from ostinato.scheduling.invocation_id import InvocationId
from ostinato.storage.database import Reader
from ostinato.storage.transaction import Tx

# (job id, project id)
JobRef = tuple[int, int]

_INITIAL = f"({InvocationStatus.STARTING.value}, {InvocationStatus.RETRYING.value})"

_ENDED = """
select distinct job_id, project_id
  from invocation
 where finished_at < (select ostinato_now()) - $1::interval
 limit $2
"""


async def find_unacknowledged(reader: Reader, *, older_than: timedelta, limit: int) -> list[JobRef]:
    """Jobs with an invocation that ended that long ago and that no triage has acknowledged."""
    return [(row[0], row[1]) for row in await reader.fetch(_ENDED, older_than, limit)]


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


# The recursion hops from job to job over the index of pending triggers and reads the oldest one of each.
_UNSEEN = """
with recursive oldest as (
    (select t.job_id, t.created_at
       from trigger t
      where t.consumed_at is null and t.not_before is null
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
)
select j.job_id, j.project_id
  from oldest o
  join job j on j.job_id = o.job_id
 where o.created_at < (select ostinato_now()) - $1::interval
   and (
        j.last_triage_at is null
        or j.last_triage_at < o.created_at
        or (j.last_triage_at < (select ostinato_now()) - $1::interval
            and not exists (select from invocation i where i.job_id = j.job_id))
   )
 limit $2
"""


async def find_unseen_triggers(reader: Reader, *, older_than: timedelta, limit: int) -> list[JobRef]:
    """Jobs with a trigger that has been pending for that long and that nothing will look at.

    Either no triage came after it, or the last one is as long ago and no invocation is left whose end would bring
    the next.
    """
    return [(row[0], row[1]) for row in await reader.fetch(_UNSEEN, older_than, limit)]
