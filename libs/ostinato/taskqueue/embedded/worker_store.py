"""SQL of tq_worker: the lease of a process, its heartbeat, and what is done about the dead."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from ostinato.storage.transaction import Row, affected
from ostinato.taskqueue.embedded.ready_store import Executor, Fence
from ostinato.taskqueue.task_flags import ALONE, CRASH, CRASH_SHIFT, MOST_CRASHES, SUSPECT_FROM

_REGISTER = """
insert into tq_worker (worker_id, expires_at, host, started_at)
values ($1, ostinato_now() + $2, $3, ostinato_now())
on conflict (worker_id) do nothing
"""


async def register_worker(executor: Executor, worker_id: int, lease: timedelta, host: str) -> bool:
    """False when the id is taken: draw another. Ids are never used again."""
    return affected(await executor.execute(_REGISTER, worker_id, lease, host)) == 1


async def count_live(executor: Executor) -> int:
    """Whose lease holds."""
    rows = await executor.fetch("select count(*) from tq_worker where expires_at > (select ostinato_now())")
    count: int = rows[0][0]
    return count


@dataclass(frozen=True, slots=True)
class Beat:
    """What a heartbeat brings back."""

    alive: bool
    db_now: datetime
    dead_workers: tuple[int, ...]
    queue_versions: int  # the sum of all queues' versions: another one than before means that a queue changed

    @classmethod
    def of_row(cls, row: Row) -> Beat:
        return cls(
            alive=row["alive"],
            db_now=row["db_now"],
            dead_workers=tuple(row["dead_workers"]),
            queue_versions=row["versions"],
        )


BEAT_SQL = """
with beat as (
    update tq_worker set expires_at = ostinato_now() + $2
     where worker_id = $1 and expires_at > ostinato_now()
    returning 1
)
select exists (select from beat) as alive, ostinato_now() as db_now,
       array(select worker_id from tq_worker where expires_at < (select ostinato_now()) and worker_id <> $1)
           as dead_workers,
       (select coalesce(sum(version), 0)::bigint from tq_queue) as versions
"""


async def beat(executor: Executor, worker_id: int, lease: timedelta) -> Beat:
    """Extends the lease if it still holds."""
    rows = await executor.fetch(BEAT_SQL, worker_id, lease)
    return Beat.of_row(rows[0])


# One more death is charged to what was not told apart yet, and to what ran alone.
_CHARGED = f"""
(r.flags & ~{ALONE}) + case
    when r.flags >> {CRASH_SHIFT} >= {MOST_CRASHES} then 0
    when r.flags >> {CRASH_SHIFT} < {SUSPECT_FROM} or r.flags & {ALONE} <> 0 then {CRASH}
    else 0
end
"""
# A task that was alone when its worker died comes again after 5 s, then 10, 20, up to five minutes.
_REAP = f"""
with dead as (
    delete from tq_worker where worker_id = any($1::int[]) and expires_at < ostinato_now() returning worker_id
), room as (
    delete from tq_queue_running q using dead where q.worker_id = dead.worker_id
), freed as (
    update tq_ready r
       set claimed_by = 0, strand = r.strand | 63, eta = coalesce(r.eta, r.ready_at), ready_at = ostinato_now(),
           flags = {_CHARGED}
      from dead
     where r.claimed_by = dead.worker_id and r.flags & {ALONE} = 0
    returning 1
), culprits as (
    delete from tq_ready r using dead
     where r.claimed_by = dead.worker_id and r.flags & {ALONE} <> 0
    returning r.*, {_CHARGED} as charged
), postponed as (
    insert into tq_later (id, due_at, strand, fair_key, class_id, attempt, failures, flags, payload, header, added_at)
    select id,
           ostinato_now() + least(300, 5 * 2 ^ least((flags >> {CRASH_SHIFT}) - {SUSPECT_FROM}, 6)) * interval '1 s',
           strand & ~63, fair_key, class_id, attempt, failures, charged, payload, header, coalesce(eta, ready_at)
      from culprits
    returning 1
)
select (select count(*) from freed) + (select count(*) from postponed)
"""


async def reap(executor: Executor, dead_workers: Sequence[int]) -> int:
    """Frees the tasks of processes whose lease ended, and charges the death to them; returns how many."""
    rows = await executor.fetch(_REAP, list(dead_workers))
    return int(rows[0][0])


_GIVE_BACK = f"""
with gone as (
    delete from tq_worker where worker_id = any($1::int[]) returning worker_id
), room as (
    delete from tq_queue_running q using gone where q.worker_id = gone.worker_id
)
update tq_ready r
   set claimed_by = 0, strand = r.strand | 63, eta = coalesce(r.eta, r.ready_at), ready_at = ostinato_now(),
       flags = r.flags & ~{ALONE}
  from gone
 where r.claimed_by = gone.worker_id
"""


async def give_back(executor: Executor, outlived: Sequence[int]) -> int:
    """Frees the tasks of incarnations whose process lives, and charges nothing; returns how many.

    What somebody else has reaped before is not there any more.
    """
    return affected(await executor.execute(_GIVE_BACK, list(outlived)))


_MARK_ALONE = f"""
update tq_ready r
   set flags = r.flags | {ALONE}
 where r.ctid = ($2::tid[])[1] and r.id = $3 and r.claimed_by = $1
returning r.ctid, r.id, r.strand, r.ready_at, r.eta, r.fair_key, r.class_id, r.attempt, r.failures, r.flags,
          r.header, r.payload
"""


async def mark_alone(executor: Executor, worker_id: int, fence: Fence) -> Row | None:
    """Writes that a suspect is about to run: the row as claims bring it, or None when it is no longer ours."""
    rows = await executor.fetch(_MARK_ALONE, worker_id, [fence[0]], fence[1])
    return rows[0] if rows else None


_DELETE_WORKER = """
with gone as (delete from tq_worker where worker_id = $1)
delete from tq_queue_running where worker_id = $1
"""


async def delete_worker(executor: Executor, worker_id: int) -> None:
    """Ends an incarnation that holds nothing any more."""
    await executor.execute(_DELETE_WORKER, worker_id)


_FREE_ORPHANS = f"""
update tq_ready r
   set claimed_by = 0, strand = r.strand | 63, eta = coalesce(r.eta, r.ready_at), ready_at = ostinato_now(),
       flags = r.flags & ~{ALONE}
 where r.claimed_by <> 0
   and not exists (select 1 from tq_worker k where k.worker_id = r.claimed_by)
"""
_FREE_UNKNOWN = f"""
update tq_ready r
   set claimed_by = 0, strand = r.strand | 63, eta = coalesce(r.eta, r.ready_at), ready_at = ostinato_now(),
       flags = r.flags & ~{ALONE}
 where r.claimed_by = $1 and r.id <> all($2::bigint[])
"""


async def free_orphans(executor: Executor) -> int:
    """Tasks claimed by an incarnation that is gone: a claim that committed after its reaping."""
    return affected(await executor.execute(_FREE_ORPHANS))


async def free_unknown(executor: Executor, worker_id: int, known: Sequence[int]) -> int:
    """Tasks claimed by us that we never heard of: the answer to a claim was lost."""
    return affected(await executor.execute(_FREE_UNKNOWN, worker_id, list(known)))
