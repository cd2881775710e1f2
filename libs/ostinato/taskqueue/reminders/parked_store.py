"""SQL of tq_parked_reminder: tasks that the remote queue refused for too long. People list, requeue or purge them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from ostinato.storage.transaction import affected
from ostinato.taskqueue.embedded.ready_store import Executor


@dataclass(frozen=True, slots=True)
class ParkedReminder:
    """A dead letter of kind `reminder`; `payload` is the whole reminder."""

    id: UUID
    queue: str
    task_class: str
    parked_at: datetime
    attempts: int
    error: str
    payload: bytes


_LIST = """
select id, queue, task_class, parked_at, attempts, error, payload
  from tq_parked_reminder
 where ($1::text is null or queue = $1)
   and ($2::timestamptz is null or (parked_at, id) < ($2, $3))
 order by parked_at desc, id desc
 limit $4
"""


async def list_parked(
    executor: Executor, *, queue: str | None = None, before: tuple[datetime, UUID] | None = None, limit: int = 100
) -> list[ParkedReminder]:
    """Newest first; `before` is (parked_at, id) of the last one seen."""
    parked_at, last_id = before or (None, None)
    return [ParkedReminder(**dict(row)) for row in await executor.fetch(_LIST, queue, parked_at, last_id, limit)]


_FIND = """
select p.id, queue, task_class, parked_at, attempts, error, payload
  from unnest($1::uuid[], $2::uuid[]) u(low, high)
  join tq_parked_reminder p on p.id >= u.low and p.id <= u.high
"""


async def find_parked(executor: Executor, ranges: Sequence[tuple[UUID, UUID]]) -> list[ParkedReminder]:
    """Those whose ids lie in one of `ranges`, bounds included."""
    if not ranges:
        return []
    rows = await executor.fetch(_FIND, [low for low, _ in ranges], [high for _, high in ranges])
    return [ParkedReminder(**dict(row)) for row in rows]


_REQUEUE = """
with asked_for as materialized (
    select id from tq_parked_reminder where id = any($1::uuid[]) order by id for update
), gone as (
    delete from tq_parked_reminder p using asked_for a where p.id = a.id returning p.id, p.payload
)
insert into tq_reminder (id, fresh_until, payload) select id, ostinato_now(), payload from gone
"""


async def requeue_parked(executor: Executor, ids: Sequence[UUID]) -> int:
    """The next sweep tries them, with another hour's patience; unknown ids are passed over. Returns how many."""
    return affected(await executor.execute(_REQUEUE, list(ids)))


_PURGE = """
with asked_for as materialized (
    select id from tq_parked_reminder where id = any($1::uuid[]) order by id for update
)
delete from tq_parked_reminder p using asked_for a where p.id = a.id
"""


async def purge_parked(executor: Executor, ids: Sequence[UUID]) -> int:
    """Deletes them for good; unknown ids are passed over. Returns how many."""
    return affected(await executor.execute(_PURGE, list(ids)))


_PURGE_SOME = """
delete from tq_parked_reminder
 where id = any(array(
    select id from tq_parked_reminder
     where ($1::text is null or queue = $1)
       and ($2::interval is null or parked_at < ostinato_now() - $2)
     limit $3
       for update skip locked
 ))
"""


async def purge_some_parked(
    executor: Executor, *, queue: str | None = None, older_than: timedelta | None = None, limit: int
) -> int:
    """Deletes up to `limit`, of one queue and of a certain age if these are given. Returns how many."""
    return affected(await executor.execute(_PURGE_SOME, queue, older_than, limit))
