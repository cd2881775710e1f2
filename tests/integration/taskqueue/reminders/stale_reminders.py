"""Several sweepers at once over many reminders that were left behind: what each costs, for tests and measurements."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import Sequence
from dataclasses import dataclass

from ostinato.clock import SystemClock
from ostinato.storage.database import Database
from ostinato.taskqueue.reminders.submissions import Submissions
from ostinato.taskqueue.sweeping.sweep_options import SweepOptions
from tests.integration.taskqueue.reminders.remote_queue import FakeQueue, WholeDistributedSweep, remaining, write_stale

_WRITTEN_AT_ONCE = 2000


@dataclass(frozen=True, slots=True)
class SweepMeasure:
    """`peak_bytes`: most that was allocated during the sweep; what the fake queue remembers of each request counts."""

    submitted: int
    duplicates: int
    remaining: int
    seconds: float
    peak_bytes: int


async def write_many_stale(db: Database, count: int) -> None:
    for begin in range(0, count, _WRITTEN_AT_ONCE):
        await write_stale(db, min(_WRITTEN_AT_ONCE, count - begin))


async def sweep_together(
    dbs: Sequence[Database], queue: FakeQueue, *, options: SweepOptions | None = None, measure_memory: bool = False
) -> SweepMeasure:
    """One distributed sweeper per database handle, as if each were a process, begun at the same moment."""
    clock = SystemClock()
    sweepers = [
        WholeDistributedSweep(db, Submissions(db, queue, clock), options or SweepOptions(), clock) for db in dbs
    ]
    before = queue.requests.total()
    if measure_memory:
        tracemalloc.start()
    began = clock.monotonic()
    await asyncio.gather(*(sweeper.sweep() for sweeper in sweepers))
    seconds = clock.monotonic() - began
    peak = tracemalloc.get_traced_memory()[1] if measure_memory else 0
    if measure_memory:
        tracemalloc.stop()
    return SweepMeasure(
        submitted=queue.requests.total() - before,
        duplicates=queue.duplicates,
        remaining=await remaining(dbs[0]),
        seconds=seconds,
        peak_bytes=peak,
    )
