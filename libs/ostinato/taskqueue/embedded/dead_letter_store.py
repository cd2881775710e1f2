"""SQL of tq_dead: tasks that ran out of attempts, or whose handler said that retrying is useless."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from ostinato.storage.transaction import Tx, affected
from ostinato.taskqueue.embedded.ready_store import Executor
from ostinato.taskqueue.task_flags import NAMED
from ostinato.taskqueue.task_header import decode_header


class LetterKind(StrEnum):
    TASK = "task"
    REMINDER = "reminder"  # a remote queue refused it; its payload is the whole reminder


@dataclass(frozen=True, slots=True)
class DeadLetter:
    id: int
    queue: str
    class_name: str
    died_at: datetime
    attempts: int  # claims
    failures: int  # answers that used up an attempt
    error: str
    payload: bytes
    header: bytes | None
    kind: LetterKind = LetterKind.TASK

    @property
    def traceparent(self) -> str:
        """The trace that it belonged to; empty if to none."""
        return decode_header(self.header).traceparent


_LETTERS = """
select d.id, q.name as queue, c.name as class_name, d.died_at, d.attempt as attempts, d.failures, d.error, d.payload,
       d.header
  from tq_dead d
  join tq_queue q on q.queue_id = d.strand >> 9
  join tq_class c using (class_id)
"""
_FIND = f"{_LETTERS} where d.id = $1"
_LIST = f"""
{_LETTERS}
 where ($1::text is null or d.strand >> 9 = (select queue_id from tq_queue where name = $1))
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


async def find_dead_letter(executor: Executor, task_id: int) -> DeadLetter | None:
    rows = await executor.fetch(_FIND, task_id)
    return DeadLetter(**dict(rows[0])) if rows else None


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


# A task whose name still is its own takes it again; else it goes on without one. It stays part of its trace, what was
# said of it alone stays, and its hour without a handler begins anew. A request that nobody could decode is no row of
# ours: it goes back to where it came from (`requeue_letters`).
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
       convert_to(nullif(convert_from(g.header, 'UTF8')::jsonb - 'refused_since', '{{}}')::text, 'UTF8')
  from gone g left join taken t on t.task_id = g.id
returning strand
"""


async def requeue_dead_letters(executor: Executor, ids: Sequence[int]) -> list[int]:
    """Puts them back with fresh attempts, under their old ids; unknown ids are passed over. The strand of each."""
    return [row[0] for row in await executor.fetch(_REQUEUE, list(ids))]


_PURGE = "delete from tq_dead where id = any($1::bigint[])"


async def purge_dead_letters(executor: Executor, ids: Sequence[int]) -> int:
    """Deletes them for good; unknown ids are passed over. Returns how many."""
    return affected(await executor.execute(_PURGE, list(ids)))


_PURGE_SOME = """
delete from tq_dead
 where id = any(array(
    select id from tq_dead
     where ($1::text is null or strand >> 9 = (select queue_id from tq_queue where name = $1))
       and ($2::interval is null or died_at < ostinato_now() - $2)
     limit $3
       for update skip locked
 ))
"""


async def purge_some_dead_letters(
    executor: Executor, *, queue: str | None = None, older_than: timedelta | None = None, limit: int
) -> int:
    """Deletes up to `limit`, of one queue and of a certain age if these are given. Returns how many."""
    return affected(await executor.execute(_PURGE_SOME, queue, older_than, limit))
