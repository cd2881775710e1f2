"""A sweep within one process, for deployments whose queue shall not carry it. It takes no leases.

What is in memory at once is bounded: ids of a few scans, payloads of a few batches.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from uuid import UUID

from ostinato.clock import Clock
from ostinato.errors import FailedPrecondition
from ostinato.storage.database import Database
from ostinato.taskqueue.reminders.submissions import Submissions
from ostinato.taskqueue.sweeping.partition import KEY_SPACE_BYTES, Partition
from ostinato.taskqueue.sweeping.scan import ScanRange
from ostinato.taskqueue.sweeping.scanning import scan_range
from ostinato.taskqueue.sweeping.sweep_options import SweepOptions
from ostinato.taskqueue.sweeping.sweep_stats import SweepStats
from ostinato.taskqueue.sweeping.work_set import WorkSet


@dataclass(frozen=True, slots=True)
class BatchSizes:
    """A batch holds at most `batch` reminders, and `at_once` batches are submitted at a time. Both are positive."""

    batch: int = 512
    at_once: int = 8


class InProcessSweeper:
    """Of the options, those about tasks and lessors are not used."""

    def __init__(
        self,
        db: Database,
        submissions: Submissions,
        clock: Clock,
        *,
        options: SweepOptions | None = None,
        sizes: BatchSizes | None = None,
        random: Random | None = None,
    ) -> None:
        self.stats = SweepStats()
        self._db = db
        self._submissions = submissions
        self._clock = clock
        self._options = options or SweepOptions()
        self._sizes = sizes or BatchSizes()
        self._random = random or Random()
        self._running = False

    async def sweep(self) -> None:
        """Submits what is due. What fails is logged and counted; the next sweep tries it.

        Raises FailedPrecondition while another one is running in this process.
        """
        if self._running:
            raise FailedPrecondition("a sweep is already running")
        self._running = True
        began = self._clock.monotonic()
        try:
            await self._sweep()
        finally:
            self._running = False
        self.stats.sweeps.add(self._clock.monotonic() - began)

    async def _sweep(self) -> None:
        options = self._options
        shards = Partition.universe(KEY_SPACE_BYTES).split(options.shards)
        ranges = (ScanRange(shard, 0, options.tasks_per_scan, options.secondary_scan_shards) for shard in shards)
        work = WorkSet(ranges, self._random)
        batches: asyncio.Queue[Sequence[UUID]] = asyncio.Queue(self._sizes.at_once)
        async with asyncio.TaskGroup() as submitters:
            submitting = [submitters.create_task(self._submit(batches)) for _ in range(self._sizes.at_once)]
            async with asyncio.TaskGroup() as scanners:
                for _ in range(options.shards):
                    scanners.create_task(self._scan(work, batches))
            await batches.join()
            for task in submitting:
                task.cancel()

    async def _scan(self, work: WorkSet[ScanRange], batches: asyncio.Queue[Sequence[UUID]]) -> None:
        """Waits while more batches are under way than may be."""
        async for scanned in work.take_all():
            result = await scan_range(self._db, scanned, self._clock, self.stats)
            for begin in range(0, len(result.due), self._sizes.batch):
                await batches.put(result.due[begin : begin + self._sizes.batch])
            work.done(
                ScanRange(part, scanned.level + 1, scanned.tasks_per_scan, scanned.secondary_scan_shards)
                for part in result.follow_ups
            )

    async def _submit(self, batches: asyncio.Queue[Sequence[UUID]]) -> None:
        while True:
            batch = await batches.get()
            self.stats.batches += 1
            await self._submissions.submit_batch(batch)
            batches.task_done()
