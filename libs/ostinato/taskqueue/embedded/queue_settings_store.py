"""SQL of a queue's state and limits: what processes load, and how people and configurations change it.

Whoever changes a queue adds one to its version; a heartbeat that sees another sum of versions makes its process load.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from ostinato.taskqueue.embedded.queue_state import QueueState
from ostinato.taskqueue.embedded.ready_store import END_NAMES, Executor
from ostinato.taskqueue.queue_settings import QueueSettings

# One statement: the sum belongs to exactly these states.
_STATES = """
select q.queue_id, q.version, q.paused_at is not null as paused, q.purge_before, q.max_rate is not null as has_rate,
       q.max_concurrent is not null as has_ceiling,
       (select coalesce(sum(version), 0)::bigint from tq_queue) as versions
  from tq_queue q
 where q.queue_id = any($1::int[])
"""


async def load_states(executor: Executor, queue_ids: Sequence[int]) -> tuple[int, dict[int, QueueState]]:
    """(sum of the versions of all queues, state by queue id)."""
    rows = await executor.fetch(_STATES, list(queue_ids))
    states = {
        row["queue_id"]: QueueState(
            version=row["version"],
            paused=row["paused"],
            purge_before=row["purge_before"],
            has_rate=row["has_rate"],
            has_ceiling=row["has_ceiling"],
        )
        for row in rows
    }
    return max((row["versions"] for row in rows), default=0), states


_STORE_LIMITS = """
update tq_queue q
   set max_rate = u.max_rate, burst = u.burst, max_concurrent = u.max_concurrent, dedup_window = u.dedup_window,
       version = q.version + 1
  from unnest($1::text[], $2::float8[], $3::int[], $4::int[], $5::interval[])
       u(name, max_rate, burst, max_concurrent, dedup_window)
 where q.name = u.name
   and (q.max_rate, q.burst, q.max_concurrent, q.dedup_window)
       is distinct from (u.max_rate, u.burst, u.max_concurrent, u.dedup_window)
returning q.name
"""


async def store_limits(executor: Executor, queues: Sequence[QueueSettings]) -> list[str]:
    """Returns the names of those that changed."""
    rows = await executor.fetch(
        _STORE_LIMITS,
        [queue.name for queue in queues],
        [queue.max_rate for queue in queues],
        [queue.stored_burst for queue in queues],
        [queue.max_concurrent for queue in queues],
        [queue.dedup_window for queue in queues],
    )
    return sorted(row["name"] for row in rows)


# A queue that is paused already keeps the time of its first pause, and its version.
_PAUSE = """
update tq_queue set paused_at = ostinato_now(), version = version + 1 where name = $1 and paused_at is null
"""
_RESUME = "update tq_queue set paused_at = null, version = version + 1 where name = $1 and paused_at is not null"
_MARK_PURGED = """
update tq_queue set purge_before = ostinato_now(), version = version + 1 where name = $1
returning queue_id, purge_before
"""


async def pause(executor: Executor, name: str) -> None:
    """Nothing of the queue is claimed from now on."""
    await executor.execute(_PAUSE, name)


async def resume(executor: Executor, name: str) -> None:
    await executor.execute(_RESUME, name)


_PAUSED = "select name, paused_at from tq_queue where name = any($1::text[]) and paused_at is not null"


async def find_paused(executor: Executor, names: Collection[str]) -> dict[str, datetime]:
    """Since when, by name, those of `names` that are."""
    return {row["name"]: row["paused_at"] for row in await executor.fetch(_PAUSED, list(names))}


async def mark_purged(executor: Executor, name: str) -> tuple[int, datetime] | None:
    """From now on, tasks added before now are dropped when they are claimed. (queue id, time of the purge)."""
    rows = await executor.fetch(_MARK_PURGED, name)
    return (rows[0]["queue_id"], rows[0]["purge_before"]) if rows else None


# Waits for whoever moves a task just now, so that it is seen in tq_ready afterwards. Each batch begins where the last
# one ended: what was deleted is not read again.
_PURGE_LATER = f"""
with gone as (
    delete from tq_later
     where ctid = any(array(
        select l.ctid from tq_later l
         where l.due_at >= $3 and l.strand >> 9 = $1 and coalesce(l.added_at, '-infinity') < $2
         order by l.due_at, l.id
         limit $4
           for update
     ))
    returning id, flags, due_at
), {END_NAMES}
select count(*) as purged, max(due_at) as last_due_at from gone
"""
# A claimed row is never deleted: whoever claimed it drops it if it has not started.
_PURGE_READY = f"""
with gone as (
    delete from tq_ready
     where ctid = any(array(
        select r.ctid from tq_ready r
         where r.strand = $1 and r.ready_at >= $3 and coalesce(r.eta, r.ready_at) < $2 and r.claimed_by = 0
         order by r.ready_at, r.id
         limit $4
           for update skip locked
     ))
    returning id, flags, ready_at
), {END_NAMES}
select count(*) as purged, max(ready_at) as last_ready_at from gone
"""


async def purge_later(
    executor: Executor, queue_id: int, before: datetime, *, since: datetime, most: int
) -> tuple[int, datetime | None]:
    """Deletes delayed tasks that were added before, from due time `since` on: (how many, the last one's due time)."""
    row = (await executor.fetch(_PURGE_LATER, queue_id, before, since, most))[0]
    return row["purged"], row["last_due_at"]


async def purge_ready(
    executor: Executor, strand: int, before: datetime, *, since: datetime, most: int
) -> tuple[int, datetime | None]:
    """Deletes unclaimed tasks of a strand that were added before, as `purge_later` does."""
    row = (await executor.fetch(_PURGE_READY, strand, before, since, most))[0]
    return row["purged"], row["last_ready_at"]
