"""SQL of tq_name: adding under a name, deleting by name, and when a name is free again.

A named task is alive if and only if its name's row has its id and never expires. Everybody locks rows of names in the
order of their key, after rows of tq_ready.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from ostinato.storage.database import Database
from ostinato.storage.transaction import affected
from ostinato.taskqueue.embedded.ready_store import Executor, NewTasks
from ostinato.taskqueue.task_flags import NAMED

# A row that is there keeps the name unless its time is over; then the name passes to the new task.
_TAKE_NAMES = """
with taken as (
    insert into tq_name (queue_id, name_hash, task_id, expires_at)
    select $1::smallint, u.name_hash, u.id, 'infinity'
      from unnest($2::uuid[], $3::bigint[]) u(name_hash, id)
     order by u.name_hash
        on conflict (queue_id, name_hash) do update set task_id = excluded.task_id, expires_at = excluded.expires_at
     where tq_name.expires_at <= ostinato_now()
    returning task_id
)
"""
_ADD_READY = f"""{_TAKE_NAMES}
insert into tq_ready (id, ready_at, strand, fair_key, class_id, flags, payload, header)
select u.id, ostinato_now(), u.strand, u.fair_key, $7, {NAMED}, u.payload, $8
  from unnest($3::bigint[], $4::int[], $5::int[], $6::bytea[]) u(id, strand, fair_key, payload)
  join taken on taken.task_id = u.id
returning id
"""
_ADD_LATER = f"""{_TAKE_NAMES}
insert into tq_later (id, due_at, strand, fair_key, class_id, flags, payload, header)
select u.id, greatest(coalesce($10::timestamptz, ostinato_now() + $9::interval), ostinato_now()), u.strand, u.fair_key,
       $7, {NAMED}, u.payload, $8
  from unnest($3::bigint[], $4::int[], $5::int[], $6::bytea[]) u(id, strand, fair_key, payload)
  join taken on taken.task_id = u.id
returning id
"""


async def insert_named(
    db: Database, queue_id: int, names: Sequence[UUID], tasks: NewTasks, strands: Sequence[int]
) -> set[int]:
    """Adds the tasks whose names are free, and returns their ids. `names` are all different, `strands` one each.

    Raises CommitOutcomeUnknown when its answer was lost.
    """
    columns = (
        list(names),
        tasks.ids,
        list(strands),
        tasks.fair_keys,
        tasks.payloads,
        tasks.class_id,
        tasks.header,
    )
    if tasks.is_later:
        rows = await db.fetch_written(_ADD_LATER, queue_id, *columns, tasks.delay, tasks.eta)
    else:
        rows = await db.fetch_written(_ADD_READY, queue_id, *columns)
    return {row["id"] for row in rows}


_DELETE = """
with alive as materialized (
    select queue_id, name_hash from tq_name
     where queue_id = $1 and name_hash = any($2::uuid[]) and expires_at = 'infinity'
     order by name_hash
       for no key update
)
update tq_name n
   set expires_at = ostinato_now() + q.dedup_window
  from alive a join tq_queue q using (queue_id)
 where n.queue_id = a.queue_id and n.name_hash = a.name_hash
"""


async def delete_names(executor: Executor, queue_id: int, names: Sequence[UUID]) -> int:
    """Ends the names of tasks that have not ended; whoever claims these tasks drops them. Returns how many."""
    return affected(await executor.execute(_DELETE, queue_id, list(names)))


_ALIVE = "select task_id from tq_name where task_id = any($1::bigint[]) and expires_at = 'infinity'"


async def alive_tasks(executor: Executor, task_ids: Sequence[int]) -> set[int]:
    """Those of these named tasks whose name was not deleted."""
    return {row["task_id"] for row in await executor.fetch(_ALIVE, list(task_ids))}


_FORGET = """
with expired as materialized (
    select queue_id, name_hash from tq_name
     where expires_at <= (select ostinato_now())
     order by expires_at
     limit $1
       for update skip locked
)
delete from tq_name n using expired e where n.queue_id = e.queue_id and n.name_hash = e.name_hash
"""


async def forget_expired_names(executor: Executor, most: int) -> int:
    """Removes rows of names that are free again; nothing depends on its being soon."""
    return affected(await executor.execute(_FORGET, most))
