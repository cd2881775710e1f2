"""What waits in one queue, asked about that queue alone: cheap where it is short, and never a read of all queues."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from ostinato.taskqueue.embedded.ready_store import Executor
from ostinato.taskqueue.embedded.strand import strands_of

# Later tasks have no index by queue: those of the next minutes are looked through.
_BEGINNING_WITH = """
select r.payload
  from tq_ready r
 where r.strand between $1 and $2 and substring(r.payload from 1 for $5) = any($3::bytea[])
union all
select l.payload
  from tq_later l
 where l.strand between $1 and $2 and l.due_at < (select ostinato_now()) + $4::interval
   and substring(l.payload from 1 for $5) = any($3::bytea[])
"""


async def find_payloads_beginning(
    executor: Executor, queue_id: int, beginnings: Sequence[bytes], *, within: timedelta
) -> list[bytes]:
    """Of the queue's tasks that are due, claimed, or due within that time, those that begin with one of `beginnings`.

    Reads the whole queue.
    """
    first, last = strands_of(queue_id)
    payloads: list[bytes] = []
    for length in sorted({len(beginning) for beginning in beginnings}):  # of one length they are looked up by hash
        wanted = [beginning for beginning in beginnings if len(beginning) == length]
        payloads += [row[0] for row in await executor.fetch(_BEGINNING_WITH, first, last, wanted, within, length)]
    return payloads


_BEHIND = """
select q.paused_at is not null
       or exists (select from tq_ready r
                   where r.strand between $2 and $3
                     and coalesce(r.eta, r.ready_at) < (select ostinato_now()) - $4::interval)
       or exists (select from tq_later l
                   where l.strand between $2 and $3 and l.due_at < (select ostinato_now()) - $4::interval)
  from tq_queue q
 where q.queue_id = $1
"""


async def is_behind(executor: Executor, queue_id: int, *, by: timedelta) -> bool:
    """Whether the queue is paused, or a task of it has been due that long and has not ended, claimed or not."""
    first, last = strands_of(queue_id)
    rows = await executor.fetch(_BEHIND, queue_id, first, last, by)
    return bool(rows and rows[0][0])
