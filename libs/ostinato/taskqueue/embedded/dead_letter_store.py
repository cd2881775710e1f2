"""SQL of tq_dead: tasks that ran out of attempts, or whose handler said that retrying is useless."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from ostinato.storage.transaction import Tx, affected
from ostinato.taskqueue.embedded.ready_store import Executor
from ostinato.taskqueue.task_flags import NAMED


@dataclass(frozen=True, slots=True)
class DeadLetter:
    id: int
    queue: str
    class_name: str
    died_at: datetime
    attempts: int
    error: str
    payload: bytes


_LIST = """
select d.id, q.name as queue, c.name as class_name, d.died_at, d.attempt as attempts, d.error, d.payload
  from tq_dead d
  join tq_queue q on q.queue_id = d.strand >> 9
  join tq_class c using (class_id)
 where ($1::text is null or q.name = $1)
   and ($2::timestamptz is null or (d.died_at, d.id) < ($2, $3))
 order by d.died_at desc, d.id desc
 limit $4
"""


async def list_dead_letters(
    executor: Executor, *, queue: str | None = None, before: tuple[datetime, int] | None = None, limit: int = 100
) -> list[DeadLetter]:
    """Newest first; `before` is (died_at, id) of the last one seen."""
    died_at, last_id = before or (None, None)
    rows = await executor.fetch(_LIST, queue, died_at, last_id, limit)
    return [DeadLetter(**dict(row)) for row in rows]


@dataclass(frozen=True, slots=True)
class LockedLetter:
    id: int
    queue: str
    class_name: str
    payload: bytes
    header: bytes | None


_LOCK = """
select d.id, q.name as queue, c.name as class_name, d.payload, d.header
  from tq_dead d
  join tq_queue q on q.queue_id = d.strand >> 9
  join tq_class c using (class_id)
 where d.id = any($1::bigint[])
 order by d.id
   for update of d
"""


async def lock_dead_letters(tx: Tx, ids: Sequence[int]) -> list[LockedLetter]:
    """Unknown ids are passed over."""
    return [LockedLetter(**dict(row)) for row in await tx.fetch(_LOCK, list(ids))]


# A task whose name still is its own takes it again; else it goes on without one. What was said of it alone stays. A
# request that nobody could decode is no row of ours: it goes back to where it came from (`requeue_letters`).
_REQUEUE = f"""
with gone as (
    delete from tq_dead
     where id = any($1::bigint[]) and coalesce(position('"is_request"'::bytea in header), 0) = 0
    returning id, strand, fair_key, class_id, flags, payload, header
), named as materialized (
    select queue_id, name_hash from tq_name
     where task_id = any(array(select id from gone where flags & {NAMED} <> 0))
     order by queue_id, name_hash
       for no key update
), taken as (
    update tq_name n set expires_at = 'infinity'
      from named d
     where n.queue_id = d.queue_id and n.name_hash = d.name_hash
    returning n.task_id
)
insert into tq_ready (id, ready_at, strand, fair_key, class_id, flags, payload, header)
select g.id, ostinato_now(), g.strand, g.fair_key, g.class_id,
       case when t.task_id is null then 0 else {NAMED} end, g.payload,
       (select convert_to(h.kept::text, 'UTF8')
          from (select convert_from(g.header, 'UTF8')::jsonb - array['traceparent', 'refused_since'] as kept) h
         where h.kept <> '{{}}')
  from gone g left join taken t on t.task_id = g.id
"""


async def requeue_dead_letters(executor: Executor, ids: Sequence[int]) -> int:
    """Puts them back with fresh attempts, under their old ids; unknown ids are passed over. Returns how many."""
    return affected(await executor.execute(_REQUEUE, list(ids)))


_PURGE = "delete from tq_dead where id = any($1::bigint[])"


async def purge_dead_letters(executor: Executor, ids: Sequence[int]) -> int:
    """Deletes them for good; unknown ids are passed over. Returns how many."""
    return affected(await executor.execute(_PURGE, list(ids)))
