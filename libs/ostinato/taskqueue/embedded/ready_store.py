"""SQL of tq_ready, tq_later and tq_dead: insert, claim, complete, retry, release, move in.

The fence of every write is (row version, id, worker): after a reaper or another claim touched the row, it matches
nothing. Statements carry arrays, so that one round trip serves a batch.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol

from ostinato.storage.transaction import Row, affected
from ostinato.taskqueue.task_flags import ALONE, NAMED


class Executor(Protocol):
    """A Database (one statement, own transaction) or a Tx."""

    async def execute(self, sql: str, *arguments: object) -> str: ...

    async def fetch(self, sql: str, *arguments: object) -> list[Row]: ...


class NewTasks(NamedTuple):
    """What one add writes: alike but for id, fair key and payload. `delay` None and `eta` None: due at once."""

    ids: Sequence[int]
    fair_keys: Sequence[int]
    payloads: Sequence[bytes]
    strand: int
    class_id: int
    header: bytes | None
    delay: timedelta | None = None
    eta: datetime | None = None

    @property
    def is_later(self) -> bool:
        return self.delay is not None or self.eta is not None

    def only(self, chosen: Sequence[int]) -> NewTasks:
        """Those at the places `chosen`."""
        return self._replace(
            ids=[self.ids[n] for n in chosen],
            fair_keys=[self.fair_keys[n] for n in chosen],
            payloads=[self.payloads[n] for n in chosen],
        )


# (row version, id) of a claimed task: what a fence needs besides the worker's id.
Fence = tuple[tuple[int, int], int]


@dataclass(frozen=True, slots=True)
class RetryRow:
    fence: Fence
    delay: timedelta
    failures: int
    header: bytes | None


@dataclass(frozen=True, slots=True)
class DeadRow:
    fence: Fence
    failures: int
    error: str


_DRAW_IDS = "select nextval('tq_task_id') from generate_series(1, $1)"


async def draw_id_blocks(executor: Executor, blocks: int) -> list[int]:
    """The first id of each block; the sequence's increment is a block's size."""
    return [row[0] for row in await executor.fetch(_DRAW_IDS, blocks)]


_INSERT_READY_ONE = """
insert into tq_ready (id, ready_at, strand, fair_key, class_id, payload, header)
values ($1, ostinato_now(), $2, $3, $4, $5, $6)
"""
_INSERT_READY_ALIKE = """
insert into tq_ready (id, ready_at, strand, fair_key, class_id, payload, header)
select u.id, ostinato_now(), $4, u.fair_key, $5, u.payload, $6
  from unnest($1::bigint[], $2::int[], $3::bytea[]) u(id, fair_key, payload)
"""
_INSERT_READY = """
insert into tq_ready (id, ready_at, strand, fair_key, class_id, payload, header)
select u.id, ostinato_now(), u.strand, u.fair_key, u.class_id, u.payload, u.header
  from unnest($1::bigint[], $2::int[], $3::int[], $4::smallint[], $5::bytea[], $6::bytea[])
       u(id, strand, fair_key, class_id, payload, header)
"""
_INSERT_LATER = """
insert into tq_later (id, due_at, strand, fair_key, class_id, payload, header)
select u.id, greatest(coalesce(u.eta, ostinato_now() + u.delay), ostinato_now()), u.strand, u.fair_key, u.class_id,
       u.payload, u.header
  from unnest($1::bigint[], $2::int[], $3::int[], $4::smallint[], $5::bytea[], $6::bytea[], $7::interval[],
              $8::timestamptz[]) u(id, strand, fair_key, class_id, payload, header, delay, eta)
"""


async def insert_tasks(executor: Executor, adds: Sequence[NewTasks]) -> None:
    """At most one statement for what is due now and one for what is due later."""
    now = [tasks for tasks in adds if not tasks.is_later]
    later = [tasks for tasks in adds if tasks.is_later]
    if len(now) == 1:
        await _insert_alike(executor, now[0])
    elif now:
        await executor.execute(_INSERT_READY, *_columns(now))
    if later:
        delays = [tasks.delay for tasks in later for _ in tasks.ids]
        etas = [tasks.eta for tasks in later for _ in tasks.ids]
        await executor.execute(_INSERT_LATER, *_columns(later), delays, etas)


async def _insert_alike(executor: Executor, tasks: NewTasks) -> None:
    """What is common to all is sent once: it is the client that limits a bulk add."""
    if len(tasks.ids) == 1:
        (task_id,), (fair_key,), (payload,) = tasks.ids, tasks.fair_keys, tasks.payloads
        await executor.execute(
            _INSERT_READY_ONE, task_id, tasks.strand, fair_key, tasks.class_id, payload, tasks.header
        )
        return
    await executor.execute(
        _INSERT_READY_ALIKE,
        tasks.ids,
        tasks.fair_keys,
        tasks.payloads,
        tasks.strand,
        tasks.class_id,
        tasks.header,
    )


def _columns(adds: Sequence[NewTasks]) -> tuple[list[object], ...]:
    return (
        [task_id for tasks in adds for task_id in tasks.ids],
        [tasks.strand for tasks in adds for _ in tasks.ids],
        [fair_key for tasks in adds for fair_key in tasks.fair_keys],
        [tasks.class_id for tasks in adds for _ in tasks.ids],
        [payload for tasks in adds for payload in tasks.payloads],
        [tasks.header for tasks in adds for _ in tasks.ids],
    )


_CLAIM = """
select version, id, strand, ready_at, eta, fair_key, class_id, attempt, failures, flags, header, payload
  from tq_claim_v2($1, $2, $3, $4, $5, false)
"""


async def claim(
    executor: Executor, worker_id: int, windows: Sequence[tuple[int, datetime, int]], room: int
) -> list[Row]:
    """`windows`: (strand, look from, at most). Rows are ordered as TaskContext expects them."""
    strands, lows, quotas = zip(*windows, strict=True)
    return await executor.fetch(_CLAIM, worker_id, list(strands), list(lows), list(quotas), room)


_CLAIM_LIMITED = """
select version, id, strand, ready_at, eta, fair_key, class_id, attempt, failures, flags, header, payload, granted,
       extract(epoch from next_token_at - ostinato_now())::float8 as wait
  from tq_claim_limited_v1($1, $2, $3, $4, $5, $6, $7, $8)
"""


async def claim_limited(
    executor: Executor,
    worker_id: int,
    queue_id: int,
    *,
    held: int,
    doubts: int,
    windows: Sequence[tuple[int, datetime, int]],
    room: int,
) -> tuple[list[Row], int, float | None]:
    """(rows, how many the limits allowed, seconds until the rate allows another one).

    Stores `held` and the rows as what the worker holds of the queue, where that has a ceiling. `doubts`: how many
    answers to such calls the worker has lost; one of these that arrives after this one changes nothing.
    """
    strands, lows, quotas = zip(*windows, strict=True) if windows else ((), (), ())
    rows = await executor.fetch(
        _CLAIM_LIMITED, worker_id, queue_id, held, doubts, list(strands), list(lows), list(quotas), room
    )
    verdict = rows.pop()
    return rows, verdict["granted"], verdict["wait"]


_FIND_STRANDS = "select tq_find_strands_v1($1::int[], $2::int[])"


async def find_strands(executor: Executor, ranges: Sequence[tuple[int, int]]) -> list[int]:
    """The strands with tasks, claimed or not, in these ranges (both ends included)."""
    lows, highs = zip(*ranges, strict=True)
    return [row[0] for row in await executor.fetch(_FIND_STRANDS, list(lows), list(highs))]


_PUT_ASIDE = "select distinct strand from tq_put_aside_v1($1, $2, $3, $4) strand"


async def put_aside(executor: Executor, strand: int, *, since: datetime, looks: int, keep: int) -> set[int]:
    """Of the first tasks that wait in a shared strand, puts those behind the first `keep` of their key into the strand
    of its floods. Returns the strands that got some.
    """
    return {row[0] for row in await executor.fetch(_PUT_ASIDE, strand, since, looks, keep)}


# After `gone (id, flags)`, the tasks that ended: from now on their names are taken for the queue's window only. A
# name that was deleted before keeps the time of its deletion.
END_NAMES = f"""
named as materialized (
    select queue_id, name_hash from tq_name
     where task_id = any(array(select id from gone where flags & {NAMED} <> 0)) and expires_at = 'infinity'
     order by queue_id, name_hash
       for no key update
), freed as (
    update tq_name n
       set expires_at = ostinato_now() + q.dedup_window
      from named d join tq_queue q using (queue_id)
     where n.queue_id = d.queue_id and n.name_hash = d.name_hash
)
"""

_COMPLETE = "delete from tq_ready where ctid = any($2::tid[]) and id = any($3::bigint[]) and claimed_by = $1"


async def complete(executor: Executor, worker_id: int, fences: Sequence[Fence]) -> int:
    """How many were still ours."""
    return affected(
        await executor.execute(_COMPLETE, worker_id, [fence[0] for fence in fences], [fence[1] for fence in fences])
    )


_COMPLETE_NAMED = f"""
with gone as (
    delete from tq_ready where ctid = any($2::tid[]) and id = any($3::bigint[]) and claimed_by = $1 returning id, flags
), {END_NAMES}
select count(*) from gone
"""


async def complete_named(executor: Executor, worker_id: int, fences: Sequence[Fence]) -> int:
    """As `complete`, for tasks that have names: these are free again after their queue's window."""
    rows = await executor.fetch(
        _COMPLETE_NAMED, worker_id, [fence[0] for fence in fences], [fence[1] for fence in fences]
    )
    return int(rows[0][0])


# Whatever its handler answered, it did not kill its process: what was charged to it is forgotten.
# A flood that fails comes back as a flood; only redelivered tasks go back to everybody's line.
_RETRY = f"""
with gone as (
    delete from tq_ready where ctid = any($2::tid[]) and id = any($3::bigint[]) and claimed_by = $1
    returning id, strand, fair_key, class_id, attempt, flags, payload
)
insert into tq_later (id, due_at, strand, fair_key, class_id, attempt, failures, flags, payload, header)
select g.id, ostinato_now() + u.delay, case when g.strand & 63 = 63 then g.strand & ~63 else g.strand end, g.fair_key,
       g.class_id, g.attempt, u.failures, g.flags & {NAMED}, g.payload, u.header
  from gone g
  join unnest($3::bigint[], $4::interval[], $5::smallint[], $6::bytea[]) u(id, delay, failures, header) using (id)
"""


async def retry(executor: Executor, worker_id: int, rows: Sequence[RetryRow]) -> int:
    return affected(
        await executor.execute(
            _RETRY,
            worker_id,
            [row.fence[0] for row in rows],
            [row.fence[1] for row in rows],
            [row.delay for row in rows],
            [min(row.failures, 32767) for row in rows],
            [row.header for row in rows],
        )
    )


_BURY = f"""
with gone as (
    delete from tq_ready where ctid = any($2::tid[]) and id = any($3::bigint[]) and claimed_by = $1
    returning id, strand, fair_key, class_id, attempt, flags, payload, header
), {END_NAMES}
insert into tq_dead (id, died_at, strand, fair_key, class_id, attempt, failures, flags, error, payload, header)
select g.id, ostinato_now(), g.strand & ~63, g.fair_key, g.class_id, g.attempt, u.failures, g.flags, u.error,
       g.payload, g.header
  from gone g
  join unnest($3::bigint[], $4::smallint[], $5::text[]) u(id, failures, error) using (id)
"""


async def bury(executor: Executor, worker_id: int, rows: Sequence[DeadRow]) -> int:
    """Moves tasks to the dead letters."""
    return affected(
        await executor.execute(
            _BURY,
            worker_id,
            [row.fence[0] for row in rows],
            [row.fence[1] for row in rows],
            [min(row.failures, 32767) for row in rows],
            [row.error.replace("\0", "") for row in rows],
        )
    )


_RELEASE = f"""
update tq_ready
   set claimed_by = 0, strand = strand | 63, eta = coalesce(eta, ready_at), ready_at = ostinato_now(),
       attempt = greatest(attempt - 1, 0), flags = flags & ~{ALONE}
 where ctid = any($2::tid[]) and id = any($3::bigint[]) and claimed_by = $1
"""


async def release(executor: Executor, worker_id: int, fences: Sequence[Fence]) -> int:
    """Frees tasks for anybody, as if they had not been claimed."""
    return affected(
        await executor.execute(_RELEASE, worker_id, [fence[0] for fence in fences], [fence[1] for fence in fences])
    )


_NEXT_DUE = "select due_at from tq_later where due_at >= $1 order by due_at limit 1"
_MOVE_IN = """
select version, id, strand, ready_at, eta, fair_key, class_id, attempt, failures, flags, header, payload, claimed_by
  from tq_move_in_v1($1, $2, $3, $4, $5)
"""


async def find_next_due(executor: Executor, since: datetime) -> datetime | None:
    """When the earliest later task is due."""
    rows = await executor.fetch(_NEXT_DUE, since)
    return rows[0][0] if rows else None


async def move_in(
    executor: Executor, worker_id: int, *, since: datetime, strands: Sequence[int], room: int, most: int
) -> list[Row]:
    """Moves due tasks to tq_ready; the first `room` of `strands` come back claimed by `worker_id`."""
    return await executor.fetch(_MOVE_IN, worker_id, since, list(strands), room, most)


_MISSING = """
select id from unnest($1::bigint[]) u(id)
 where not exists (select 1 from tq_ready r where r.id = u.id)
   and not exists (select 1 from tq_later l where l.id = u.id)
"""


async def missing_tasks(executor: Executor, ids: Sequence[int]) -> set[int]:
    """Ids that are neither ready, claimed nor later: done, dead or lost. Reads the whole queue: rarely, please."""
    return {row[0] for row in await executor.fetch(_MISSING, list(ids))}


_QUEUED = """
select payload from tq_ready where class_id = $1 and payload = any($2::bytea[])
union
select payload from tq_later where class_id = $1 and payload = any($2::bytea[])
"""


async def find_queued_payloads(executor: Executor, class_id: int, payloads: Collection[bytes]) -> set[bytes]:
    """Those that a task of the class carries: due, claimed or later. Reads the whole queue: rarely, please."""
    return {row[0] for row in await executor.fetch(_QUEUED, class_id, list(payloads))}
