"""SQL of tq_measure: how full the queues were a moment ago, counted by one process for all."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta

from ostinato.storage.database import Database
from ostinato.storage.transaction import Row, Tx
from ostinato.taskqueue.embedded.queue_store import queue_stats


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """`oldest`: seconds since the oldest unclaimed task was due, 0 without one."""

    name: str
    ready: int
    claimed: int
    later: int
    dead: int
    oldest: float


@dataclass(frozen=True, slots=True)
class Measure:
    """`is_due`: it is time that somebody counts again."""

    age: timedelta
    depths: tuple[QueueDepth, ...]
    is_due: bool


# A count that takes a second is repeated every fifty.
_LOAD = """
select ostinato_now() - greatest(measured_at, '2000-01-01') as age, queues,
       measured_at < ostinato_now() - greatest($1, 50 * took) as is_due
  from tq_measure
"""


async def load_measure(db: Database, every: timedelta) -> Measure:
    rows = await db.fetch(_LOAD, every)
    return _measure_of(rows[0])


def _measure_of(row: Row) -> Measure:
    depths = tuple(QueueDepth(**queue) for queue in json.loads(row["queues"]))
    return Measure(row["age"], depths, row["is_due"])


_LOCK = """
select from tq_measure where measured_at < ostinato_now() - greatest($1, 50 * took) for no key update skip locked
"""
_SAVE = """
update tq_measure set measured_at = $1, took = clock_timestamp() - $2, queues = $3
"""


async def count_if_due(tx: Tx, every: timedelta) -> bool:
    """Counts, unless somebody else does or did."""
    if not await tx.fetch(_LOCK, every):
        return False
    began = await tx.fetchval("select clock_timestamp()")
    depths = await _count(tx)
    await tx.execute(_SAVE, await tx.now(), began, json.dumps([asdict(depth) for depth in depths]))
    return True


async def _count(tx: Tx) -> Sequence[QueueDepth]:
    now = await tx.now()
    return [
        QueueDepth(
            name=stats.name,
            ready=stats.ready,
            claimed=stats.claimed,
            later=stats.later,
            dead=stats.dead,
            oldest=max(0.0, (now - stats.oldest_ready_at).total_seconds()) if stats.oldest_ready_at else 0.0,
        )
        for stats in await queue_stats(tx)
    ]
