"""Inserts tasks as claimed by the process that adds them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ostinato.storage.transaction import Row
from ostinato.taskqueue.embedded.ready_store import Executor


class ClaimedRow(NamedTuple):
    """A task to be inserted as claimed. All of one statement have the same strand and class."""

    id: int
    strand: int
    fair_key: int
    class_id: int
    header: bytes | None
    payload: bytes


# Nothing is born claimed that a claim would not get now.
_INSERT_CLAIMED = """
insert into tq_ready (id, ready_at, strand, fair_key, class_id, payload, header, claimed_by, attempt)
select u.id, ostinato_now(), $5, u.fair_key, $6, u.payload, u.header, $7, 1
  from unnest($1::bigint[], $2::int[], $3::bytea[], $4::bytea[]) u(id, fair_key, payload, header)
 where exists (select 1 from tq_worker k where k.worker_id = $7 and k.expires_at > ostinato_now())
   and not exists (select 1 from tq_queue q
                    where q.queue_id = $8
                      and (q.paused_at is not null or q.max_rate is not null or q.max_concurrent is not null))
returning ctid, id, strand, ready_at, eta, fair_key, class_id, attempt, failures, flags, header, payload
"""


async def insert_claimed(executor: Executor, worker_id: int, queue_id: int, rows: Sequence[ClaimedRow]) -> list[Row]:
    """All rows as claims bring them, in the order of `rows`, or none."""
    inserted = await executor.fetch(
        _INSERT_CLAIMED,
        [row.id for row in rows],
        [row.fair_key for row in rows],
        [row.payload for row in rows],
        [row.header for row in rows],
        rows[0].strand,
        rows[0].class_id,
        worker_id,
        queue_id,
    )
    by_id = {row[1]: row for row in inserted}
    return [by_id[row.id] for row in rows] if inserted else []
