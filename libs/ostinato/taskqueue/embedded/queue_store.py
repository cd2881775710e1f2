"""SQL of tq_queue and tq_class: ids of names, numbers for people, and the wake-up call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from ostinato.storage.database import Database
from ostinato.storage.transaction import Tx
from ostinato.taskqueue.embedded.ready_store import Executor


async def ensure_queues(db: Database, names: Sequence[str]) -> dict[str, int]:
    """Creates missing queues; returns the id of each name."""
    known = await _queue_ids(db, names)
    if len(known) == len(set(names)):
        return known
    await db.transact(lambda tx: _create_queues(tx, names))
    return await _queue_ids(db, names)


async def ensure_classes(db: Database, names: Sequence[str]) -> dict[str, int]:
    """Creates missing task classes; returns the id of each name."""
    known = await _class_ids(db, names)
    if missing := sorted(set(names) - known.keys()):
        await db.execute("insert into tq_class (name) select unnest($1::text[]) on conflict (name) do nothing", missing)
        known = await _class_ids(db, names)
    return known


async def _create_queues(tx: Tx, names: Sequence[str]) -> None:
    await tx.execute("lock table tq_queue in share row exclusive mode")
    await tx.execute(
        """
        insert into tq_queue (queue_id, name)
        select (select coalesce(max(queue_id), 0) from tq_queue) + row_number() over (order by u.name), u.name
          from unnest($1::text[]) u(name)
         where not exists (select 1 from tq_queue q where q.name = u.name)
        """,
        sorted(set(names)),
    )


async def _queue_ids(db: Database, names: Sequence[str]) -> dict[str, int]:
    rows = await db.fetch("select name, queue_id from tq_queue where name = any($1::text[])", list(names))
    return {row["name"]: row["queue_id"] for row in rows}


async def _class_ids(db: Database, names: Sequence[str]) -> dict[str, int]:
    rows = await db.fetch("select name, class_id from tq_class where name = any($1::text[])", list(names))
    return {row["name"]: row["class_id"] for row in rows}


# Nothing is lost with a lost notification, so its commit waits for no disk.
_NOTIFY = "select set_config('synchronous_commit', 'off', true), pg_notify($1, $2)"


async def notify(executor: Executor, channel: str, payload: str) -> None:
    """Wakes whoever listens on `channel`."""
    await executor.fetch(_NOTIFY, channel, payload)


MOST_DEAD_COUNTED = 10_000


@dataclass(frozen=True, slots=True)
class QueueStats:
    name: str
    ready: int  # due and unclaimed
    claimed: int
    later: int  # due in the future: delayed tasks and retries
    dead: int  # at most MOST_DEAD_COUNTED
    oldest_ready_at: datetime | None
    paused_at: datetime | None
    max_rate: float | None  # starts per second
    burst: int
    max_concurrent: int | None


_STATS = f"""
select q.name,
       coalesce(r.ready, 0) as ready, coalesce(r.claimed, 0) as claimed,
       coalesce(l.later, 0) as later, d.dead, r.oldest_ready_at,
       q.paused_at, q.max_rate, q.burst, q.max_concurrent
  from tq_queue q
  left join (select strand >> 9 as queue_id, count(*) filter (where claimed_by = 0) as ready,
                    count(*) filter (where claimed_by <> 0) as claimed,
                    min(ready_at) filter (where claimed_by = 0) as oldest_ready_at
               from tq_ready group by 1) r using (queue_id)
  left join (select strand >> 9 as queue_id, count(*) as later from tq_later group by 1) l using (queue_id)
  cross join lateral (select count(*) as dead
                        from ((select from tq_dead d where d.strand >> 9 = q.queue_id limit {MOST_DEAD_COUNTED})
                              union all
                              (select from tq_parked_reminder p
                                where p.queue = substring(q.name from '[^/]*$') limit {MOST_DEAD_COUNTED})
                              limit {MOST_DEAD_COUNTED}) first) d
 order by q.name
"""


async def queue_stats(executor: Executor) -> list[QueueStats]:
    """Counts by reading the tables: for people, not for loops."""
    return [QueueStats(**dict(row)) for row in await executor.fetch(_STATS)]
