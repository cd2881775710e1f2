"""Table `trigger`: pending reasons to run, and consumed ids that still deduplicate.

Uniqueness over both is one index, so an id cannot slip in while it is being consumed. Pending rows are consumed
only under the lock of their job, hence a row's version (`ctid`) read under that lock stays its address.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from ostinato.errors import Contention
from ostinato.scheduling.triage import PendingTrigger
from ostinato.scheduling.trigger import TriggerKind
from ostinato.storage.database import Reader
from ostinato.storage.transaction import Row, Tx, affected

# (job id, trigger id): what is unique.
TriggerKey = tuple[int, str]


@dataclass(frozen=True, slots=True)
class NewTrigger:
    """`body` is a serialized scheduler.v1.Trigger that says the same as the other fields."""

    job_id: int
    trigger_id: str
    kind: TriggerKind
    created_at: datetime
    order_in_batch: int
    emitted_by: str
    slot: datetime | None
    body: bytes


@dataclass(frozen=True, slots=True)
class StoredTrigger:
    """A pending trigger and the address of its row."""

    row_version: tuple[int, int]
    trigger: PendingTrigger


# Rows go in by key, so that two calls that share keys wait for each other in one direction only.
_INSERT = """
insert into trigger (job_id, trigger_id, kind, created_at, order_in_batch, emitted_by, slot, body)
select n.job_id, n.trigger_id, n.kind, n.created_at, n.order_in_batch, n.emitted_by, n.slot, n.body
  from unnest($1::bigint[], $2::text[], $3::text[], $4::timestamptz[], $5::bigint[], $6::text[], $7::timestamptz[],
              $8::bytea[])
       n(job_id, trigger_id, kind, created_at, order_in_batch, emitted_by, slot, body)
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
    )
    return [(row[0], row[1]) for row in rows]


_LOAD = """
select w.job_id, t.ctid, t.trigger_id, t.kind, t.created_at, t.order_in_batch, t.emitted_by, t.slot
  from unnest($1::bigint[], $2::int[]) w(job_id, most)
 cross join lateral (
    select p.ctid, p.trigger_id, p.kind, p.created_at, p.order_in_batch, p.emitted_by, p.slot
      from trigger p
     where p.job_id = w.job_id and p.consumed_at is null and p.not_before is null
     order by p.created_at, p.order_in_batch, p.trigger_id
     limit w.most
 ) t
"""


async def load_pending(tx: Tx, most: Mapping[int, int]) -> dict[int, list[StoredTrigger]]:
    """The oldest pending triggers of each job, at most `most[job_id]`. Jobs without any are left out."""
    pending: dict[int, list[StoredTrigger]] = {}
    for row in await tx.fetch(_LOAD, list(most.keys()), list(most.values())):
        pending.setdefault(row[0], []).append(_stored_from_row(row))
    return pending


def _stored_from_row(row: Row) -> StoredTrigger:
    _, row_version, trigger_id, kind, created_at, order_in_batch, emitted_by, slot = row
    return StoredTrigger(
        row_version,
        PendingTrigger(
            id=trigger_id,
            kind=TriggerKind(kind),
            created_at=created_at,
            order_in_batch=order_in_batch,
            emitted_by=emitted_by,
            slot=slot,
        ),
    )


_COUNT = """
select w.job_id, t.pending
  from unnest($1::bigint[]) w(job_id)
 cross join lateral (
    select count(*) as pending
      from (select
              from trigger p
             where p.job_id = w.job_id and p.consumed_at is null and p.not_before is null
             limit $2) p
 ) t
"""


async def count_pending(reader: Reader, job_ids: Collection[int], *, most: int) -> dict[int, int]:
    """How many each job has pending; counting stops at `most`."""
    return {row[0]: row[1] for row in await reader.fetch(_COUNT, list(job_ids), most)}


# By row version, which costs the same whatever the statistics say. "Still pending" is written so that it does not
# invite the planner to the index of pending triggers.
_STILL_PENDING = "ctid = any($1::tid[]) and coalesce(consumed_at, 'infinity') = 'infinity'"
_DELETE = f"delete from trigger where {_STILL_PENDING}"
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
    """Those that go and those whose id is remembered. Cron triggers have ids that never come again."""
    passing = [stored for stored in triggers if stored.trigger.kind is TriggerKind.CRON]
    remembered = [stored for stored in triggers if stored.trigger.kind is not TriggerKind.CRON]
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


# Either half has an index of its own.
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
