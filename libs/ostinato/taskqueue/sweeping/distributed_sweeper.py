"""A sweep as tasks of a queue: whoever begins it adds some, any process handles them, and they add what is left over.

None is ever retried: each may add sixteen others, and the next sweep does what was not done.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from datetime import timedelta
from itertools import chain
from uuid import UUID

from ostinato.clock import Clock
from ostinato.errors import Ignore, InvalidArgument, OstinatoError
from ostinato.pb.taskqueue.v1.sweep_pb2 import SweepTask
from ostinato.storage.database import Database
from ostinato.taskqueue.parallel_calls import for_each
from ostinato.taskqueue.reminders.submissions import Submissions
from ostinato.taskqueue.sweeping.lessor import Lessor
from ostinato.taskqueue.sweeping.partition import Partition
from ostinato.taskqueue.sweeping.scanning import SCAN_SECONDS, scan_range
from ostinato.taskqueue.sweeping.sorted_partitions import runs_only_in
from ostinato.taskqueue.sweeping.sweep_options import SweepOptions
from ostinato.taskqueue.sweeping.sweep_stats import SweepStats
from ostinato.taskqueue.sweeping.sweep_task import SweepTaskQueue, first_tasks, follow_up_tasks, parse_range, title_of

_log = logging.getLogger(__name__)
_BATCH = 50
_BATCHES_AT_ONCE = 8
_LEASE = timedelta(minutes=1)
_SCAN_SHARE = 5  # of the time that a task has, a scan gets this part


class DistributedSweeper:
    """Begins sweeps, and handles their tasks. `lessors` are known to tasks by their names."""

    def __init__(
        self,
        db: Database,
        submissions: Submissions,
        queue: SweepTaskQueue,
        clock: Clock,
        *,
        lessors: Mapping[str, Lessor],
        options: SweepOptions | None = None,
    ) -> None:
        self.options = options or SweepOptions()
        self.stats = SweepStats()
        self._db = db
        self._submissions = submissions
        self._queue = queue
        self._clock = clock
        self._lessors = lessors

    async def sweep(self) -> None:
        """Adds the tasks that a sweep begins with; they may be handled anywhere. Raises what adding them raises."""
        await self._queue.add(first_tasks(self.options))

    async def handle(self, task: SweepTask, *, time_left: timedelta | None = None) -> None:
        """May run twice: names dedup what it submits, and its follow-ups only cost time.

        `time_left`: until whoever handles it gives up, None without a limit. Raises Ignore if anything failed, which
        was logged then.
        """
        began = self._clock.monotonic()
        try:
            went_well = await self._handle(task, time_left)
        except InvalidArgument as error:
            _log.error("sweep task %s can't be handled: %s", title_of(task), error)
            went_well = False
        except Exception:  # noqa: BLE001 - a bug of ours must not make the queue repeat it either
            _log.exception("sweep task %s failed", title_of(task))
            went_well = False
        self.stats.tasks.add(self._clock.monotonic() - began)
        if not went_well:
            self.stats.tasks_failed += 1
            raise Ignore("the sweep finished with errors, see the log")

    async def _handle(self, task: SweepTask, time_left: timedelta | None) -> bool:
        scanned = parse_range(task)
        lessor = self._lessors.get(task.lessor)
        if lessor is None:
            raise InvalidArgument.of("lessor", f"`{task.lessor}` is not known here")
        began = self._clock.monotonic()
        seconds = SCAN_SECONDS if time_left is None else time_left.total_seconds() / _SCAN_SHARE
        result = await scan_range(self._db, scanned, self._clock, self.stats, seconds=seconds)
        passed = timedelta(seconds=self._clock.monotonic() - began)
        duration = _LEASE if time_left is None else max(timedelta(), min(_LEASE, time_left - passed))
        async with asyncio.TaskGroup() as group:
            followed_up = group.create_task(self._follow_up(task, result.follow_ups))
            submitted = group.create_task(self._submit(task, lessor, result.due, duration))
        return result.is_complete and followed_up.result() and submitted.result()

    async def _follow_up(self, task: SweepTask, partitions: Sequence[Partition]) -> bool:
        if not partitions:
            return True
        try:
            await self._queue.add(follow_up_tasks(task, partitions))
        except OstinatoError as error:
            _log.warning("not all follow-ups of %s were added, the next sweep will do it: %s", title_of(task), error)
            return False
        return True

    async def _submit(self, task: SweepTask, lessor: Lessor, due: Sequence[UUID], duration: timedelta) -> bool:
        """Whatever of `due` nobody else is submitting."""
        if not due:
            return True
        desired = Partition.span(due[0].int, due[-1].int)
        try:
            async with lessor.lease(task.lease_section, desired, duration) as parts:
                return await self._submit_batches(list(chain(*runs_only_in(parts, due, lambda key: key.int))))
        except TimeoutError:
            _log.warning("sweep task %s did not end within its lease, the next sweep goes on", title_of(task))
        except OstinatoError as error:
            _log.warning("no lease for sweep task %s, the next sweep will try: %s", title_of(task), error)
        return False

    async def _submit_batches(self, ids: Sequence[UUID]) -> bool:
        failed = 0

        async def submit(batch: Sequence[UUID]) -> None:
            nonlocal failed
            self.stats.batches += 1
            result = await self._submissions.submit_batch(batch)
            failed += result.failed  # read after the wait: others count meanwhile

        batches = (ids[n : n + _BATCH] for n in range(0, len(ids), _BATCH))
        await for_each(batches, submit, most=_BATCHES_AT_ONCE)
        return not failed
