"""Pending timers of running invocations. Whoever writes here holds the lock of the invocation."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from ostinato.scheduling.invocation_id import InvocationId
from ostinato.storage.database import Reader
from ostinato.storage.transaction import Tx

# (invocation, timer): what is unique.
TimerKey = tuple[InvocationId, str]


@dataclass(frozen=True, slots=True)
class StoredTimer:
    """`payload` is the target's own. `task_id`: the task that brings it."""

    invocation_id: InvocationId
    timer_id: str
    title: str
    payload: bytes
    created_at: datetime
    due_at: datetime
    task_id: int

    @property
    def key(self) -> TimerKey:
        return self.invocation_id, self.timer_id


_COLUMNS = "t.invocation_id, t.timer_id, t.title, t.payload, t.created_at, t.due_at, t.task_id"

_INSERT = """
insert into invocation_timer (invocation_id, timer_id, title, payload, created_at, due_at, task_id)
select * from unnest($1::bigint[], $2::text[], $3::text[], $4::bytea[], $5::timestamptz[], $6::timestamptz[],
                     $7::bigint[])
"""

_LOAD = f"""
select {_COLUMNS}
  from unnest($1::bigint[], $2::text[]) w(invocation_id, timer_id)
  join invocation_timer t on t.invocation_id = w.invocation_id and t.timer_id = w.timer_id
"""

_CONSUME = """
delete from invocation_timer t
 using unnest($1::bigint[], $2::text[]) w(invocation_id, timer_id)
 where t.invocation_id = w.invocation_id and t.timer_id = w.timer_id
returning t.invocation_id, t.timer_id
"""

_DROP = f"""
delete from invocation_timer t where t.invocation_id = any($1::bigint[]) returning {_COLUMNS}
"""


async def insert_timers(tx: Tx, timers: Sequence[StoredTimer]) -> None:
    await tx.execute(
        _INSERT,
        [timer.invocation_id for timer in timers],
        [timer.timer_id for timer in timers],
        [timer.title for timer in timers],
        [timer.payload for timer in timers],
        [timer.created_at for timer in timers],
        [timer.due_at for timer in timers],
        [timer.task_id for timer in timers],
    )


async def load_timers(reader: Reader, keys: Collection[TimerKey]) -> dict[TimerKey, StoredTimer]:
    """Those that are pending."""
    rows = await reader.fetch(_LOAD, [run for run, _ in keys], [timer_id for _, timer_id in keys])
    return {timer.key: timer for timer in (StoredTimer(*row) for row in rows)}


async def consume_timers(tx: Tx, keys: Collection[TimerKey]) -> set[TimerKey]:
    """Takes those that are pending; returns their keys. Of two transactions one gets a timer."""
    if not keys:
        return set()
    rows = await tx.fetch(_CONSUME, [run for run, _ in keys], [timer_id for _, timer_id in keys])
    return {(InvocationId(row[0]), row[1]) for row in rows}


async def drop_timers(tx: Tx, invocation_ids: Collection[InvocationId]) -> list[StoredTimer]:
    """Takes all timers of invocations that ended."""
    return [StoredTimer(*row) for row in await tx.fetch(_DROP, list(invocation_ids))]


_OVERDUE = f"""
select {_COLUMNS}
  from invocation_timer t
 where t.due_at < (select ostinato_now()) - $1::interval
 order by t.due_at
 limit $2
"""

_LOCK_RUNS = """
select i.invocation_id
  from invocation i
 where i.invocation_id = any($1::bigint[])
 order by i.invocation_id
   for no key update skip locked
"""

_STILL_WAITING = f"""
select {_COLUMNS}, i.project_id
  from unnest($1::bigint[], $2::text[], $3::bigint[]) w(invocation_id, timer_id, task_id)
  join invocation_timer t
    on t.invocation_id = w.invocation_id and t.timer_id = w.timer_id and t.task_id = w.task_id
  join invocation i on i.invocation_id = t.invocation_id
 where t.invocation_id = any($4::bigint[])
"""

_SET_TASKS = """
update invocation_timer t
   set task_id = w.task_id
  from unnest($1::bigint[], $2::text[], $3::bigint[]) w(invocation_id, timer_id, task_id)
 where t.invocation_id = w.invocation_id and t.timer_id = w.timer_id
"""


async def find_overdue_timers(reader: Reader, *, older_than: timedelta, limit: int) -> list[StoredTimer]:
    """Those that should have been brought that long ago."""
    return [StoredTimer(*row) for row in await reader.fetch(_OVERDUE, older_than, limit)]


async def lock_waiting_timers(tx: Tx, timers: Collection[StoredTimer]) -> list[tuple[StoredTimer, int]]:
    """Those that still wait for the same task, with their projects; locks the runs that nobody else holds."""
    locked = await tx.fetch(_LOCK_RUNS, sorted({timer.invocation_id for timer in timers}))
    rows = await tx.fetch(
        _STILL_WAITING,
        [timer.invocation_id for timer in timers],
        [timer.timer_id for timer in timers],
        [timer.task_id for timer in timers],
        [row[0] for row in locked],
    )
    return [(StoredTimer(*tuple(row.values())[:-1]), row["project_id"]) for row in rows]


async def set_timer_tasks(tx: Tx, timers: Sequence[StoredTimer], task_ids: Sequence[int]) -> None:
    """Which task brings each of them from now on."""
    await tx.execute(
        _SET_TASKS, [timer.invocation_id for timer in timers], [timer.timer_id for timer in timers], list(task_ids)
    )
