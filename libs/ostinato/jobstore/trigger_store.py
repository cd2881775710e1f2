"""Table `trigger`: pending reasons to run, and consumed ids that still deduplicate.

Uniqueness over both is one index, so an id cannot slip in while it is being consumed. Pending rows are consumed
only under the lock of their job, hence a row's version (`ctid`) read under that lock stays its address.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from ostinato.errors import Contention
from ostinato.scheduling.triage import PendingTrigger
from ostinato.scheduling.trigger import TriggerKind
from ostinato.storage.database import Reader
from ostinato.storage.transaction import Row, Tx, affected

# (job id, trigger id): what is unique.
TriggerKey = tuple[int, str]


class NewTrigger(NamedTuple):
    """`body` is a serialized scheduler.v1.Trigger that says the same as the other fields."""

    job_id: int
    trigger_id: str
    kind: TriggerKind
    created_at: datetime
    order_in_batch: int
    emitted_by: str
    slot: datetime | None
    body: bytes
    not_before: datetime | None = None  # of those that become an invocation each


class StoredTrigger(NamedTuple):
    """A pending trigger and the address of its row."""

    row_version: tuple[int, int]
    trigger: PendingTrigger


# Rows go in by key, so that two calls that share keys wait for each other in one direction only.
_INSERT = """
insert into trigger (job_id, trigger_id, kind, created_at, order_in_batch, emitted_by, slot, body,
                     not_before)
select n.job_id, n.trigger_id, n.kind, n.created_at, n.order_in_batch, n.emitted_by, n.slot, n.body, n.not_before
  from unnest($1::bigint[], $2::text[], $3::text[], $4::timestamptz[], $5::bigint[], $6::text[], $7::timestamptz[],
              $8::bytea[], $9::timestamptz[])
       n(job_id, trigger_id, kind, created_at, order_in_batch, emitted_by, slot, body, not_before)
 order by n.job_id, n.trigger_id collate "C", n.created_at, n.order_in_batch
    on conflict do nothing
returning job_id, trigger_id
"""


async def insert_triggers(tx: Tx, triggers: Sequence[NewTrigger]) -> list[TriggerKey]:
    """Inserts those whose id is neither pending nor remembered; returns their keys."""
    if not triggers:
        return []
    rows = await tx.fetch(
        _INSERT,
        [new.job_id for new in triggers],
        [new.trigger_id for new in triggers],
        [new.kind.value for new in triggers],
        [new.created_at for new in triggers],
        [new.order_in_batch for new in triggers],
        [new.emitted_by for new in triggers],
        [new.slot for new in triggers],
        [new.body for new in triggers],
        [new.not_before for new in triggers],
    )
    return [(row[0], row[1]) for row in rows]


_COLUMNS = "p.ctid, p.trigger_id, p.kind, p.created_at, p.order_in_batch, p.emitted_by, p.slot, p.not_before"
_LOAD = f"""
select w.job_id, t.*, (select ostinato_now())
  from unnest($1::bigint[], $2::int[], $3::int[]) w(job_id, most, most_waiting)
 cross join lateral (
    (select {_COLUMNS}
       from trigger p
      where p.job_id = w.job_id and p.consumed_at is null and p.not_before is null
      order by p.created_at, p.order_in_batch, p.trigger_id
      limit w.most)
    union all
    (select {_COLUMNS}
       from trigger p
      where p.job_id = w.job_id and p.consumed_at is null and p.not_before is not null
      order by p.not_before, p.trigger_id
      limit w.most_waiting)
 ) t
"""


@dataclass(frozen=True, slots=True)
class Wanted:
    """How many triggers of a job to read: of those that policies see, and of those that wait for a run each."""

    most: int
    most_waiting: int = 0


@dataclass(frozen=True, slots=True)
class Pending:
    """What was read of one job: the oldest that policies see, and the earliest of those that wait for a run each."""

    oldest: list[StoredTrigger] = field(default_factory=list)
    waiting: list[StoredTrigger] = field(default_factory=list)


async def load_pending(tx: Tx, wanted: Mapping[int, Wanted]) -> dict[int, Pending]:
    """By job; jobs without any are left out. `tx` learns the time of this read, which comes after the jobs' locks."""
    pending: dict[int, Pending] = {}
    most = [entry.most for entry in wanted.values()]
    most_waiting = [entry.most_waiting for entry in wanted.values()]
    rows = await tx.fetch(_LOAD, list(wanted.keys()), most, most_waiting)
    if rows:
        tx.learn_now(rows[0][9])
    for row in rows:
        of_job = pending.setdefault(row[0], Pending())
        stored = _stored_from_row(row)
        (of_job.oldest if stored.trigger.not_before is None else of_job.waiting).append(stored)
    return pending


def _stored_from_row(row: Row) -> StoredTrigger:
    _, row_version, trigger_id, kind, created_at, order_in_batch, emitted_by, slot, not_before, _ = row
    return StoredTrigger(
        row_version,
        PendingTrigger(
            id=trigger_id,
            kind=TriggerKind(kind),
            created_at=created_at,
            order_in_batch=order_in_batch,
            emitted_by=emitted_by,
            slot=slot,
            not_before=not_before,
        ),
    )


# Either kind has an index of its own.
_COUNT = """
select w.job_id, t.pending
  from unnest($1::bigint[]) w(job_id)
 cross join lateral (
    select count(*) as pending
      from (select
              from trigger p
             where p.job_id = w.job_id and p.consumed_at is null and p.not_before is {}
             limit $2) p
 ) t
"""
_COUNT_PENDING = _COUNT.format("null")
_COUNT_WAITING = _COUNT.format("not null")


async def count_pending(reader: Reader, job_ids: Collection[int], *, most: int) -> dict[int, int]:
    """How many that policies see each job has pending; counting stops at `most`."""
    return {row[0]: row[1] for row in await reader.fetch(_COUNT_PENDING, list(job_ids), most)}


async def count_waiting(reader: Reader, job_ids: Collection[int], *, most: int) -> dict[int, int]:
    """How many of each job wait for a run of their own; counting stops at `most`."""
    return {row[0]: row[1] for row in await reader.fetch(_COUNT_WAITING, list(job_ids), most)}


# By row version, which costs the same whatever the statistics say. "Still pending" is written so that it does not
# invite the planner to the index of pending triggers.
_STILL_PENDING = "ctid = any($1::tid[]) and coalesce(consumed_at, 'infinity') = 'infinity'"
_DELETE = f"delete from trigger where {_STILL_PENDING}"
_FORGOTTEN = frozenset({TriggerKind.CRON, TriggerKind.RETRY})
_BURY = f"update trigger set consumed_at = $2 where {_STILL_PENDING}"
_KEY_AND_BODY = " returning job_id, trigger_id, body"


async def consume_triggers(tx: Tx, triggers: Sequence[StoredTrigger], *, now: datetime) -> dict[TriggerKey, bytes]:
    """Consumes triggers of locked jobs and returns their bodies."""
    passing, remembered = _by_memory(triggers)
    rows: list[Row] = []
    if passing:
        rows += await tx.fetch(_DELETE + _KEY_AND_BODY, _versions(passing))
    if remembered:
        rows += await tx.fetch(_BURY + _KEY_AND_BODY, _versions(remembered), now)
    _check_all_consumed(len(rows), triggers)
    return {(row[0], row[1]): row[2] for row in rows}


async def discard_triggers(tx: Tx, triggers: Sequence[StoredTrigger], *, now: datetime) -> None:
    """Consumes triggers of locked jobs that nobody needs any more."""
    passing, remembered = _by_memory(triggers)
    count = 0
    if passing:
        count += affected(await tx.execute(_DELETE, _versions(passing)))
    if remembered:
        count += affected(await tx.execute(_BURY, _versions(remembered), now))
    _check_all_consumed(count, triggers)


def _by_memory(triggers: Sequence[StoredTrigger]) -> tuple[list[StoredTrigger], list[StoredTrigger]]:
    """Those that go and those whose id is remembered.

    A cron trigger's id never comes again, a retry's only when somebody wants the run tried once more.
    """
    passing = [stored for stored in triggers if stored.trigger.kind in _FORGOTTEN]
    remembered = [stored for stored in triggers if stored.trigger.kind not in _FORGOTTEN]
    return passing, remembered


def _versions(triggers: Sequence[StoredTrigger]) -> list[tuple[int, int]]:
    return [stored.row_version for stored in triggers]


def _check_all_consumed(count: int, triggers: Sequence[StoredTrigger]) -> None:
    if count != len(triggers):
        raise Contention(f"{len(triggers) - count} of {len(triggers)} pending triggers vanished under the job's lock")


@dataclass(frozen=True, slots=True)
class PendingBody:
    """A pending trigger as people see it; `position` is where the next page begins."""

    position: tuple[datetime, int, str]
    body: bytes


_HALF_PAGE = """
(select created_at, order_in_batch, trigger_id, body
   from trigger
  where job_id = $1 and consumed_at is null and not_before is {}
    and ($2::timestamptz is null or (created_at, order_in_batch, trigger_id) > ($2, $3::bigint, $4::text collate "C"))
  order by created_at, order_in_batch, trigger_id
  limit $5)
"""
_PAGE = f"""
{_HALF_PAGE.format("null")} union all {_HALF_PAGE.format("not null")}
 order by created_at, order_in_batch, trigger_id
 limit $5
"""


async def list_pending(
    reader: Reader, job_id: int, *, after: tuple[datetime, int, str] | None, limit: int
) -> list[PendingBody]:
    """Pending triggers of a job, oldest first, behind the position `after`."""
    rows = await reader.fetch(_PAGE, job_id, *(after or (None, None, None)), limit)
    return [PendingBody((row[0], row[1], row[2]), row[3]) for row in rows]
