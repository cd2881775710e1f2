"""Sets going again what stands still although it should not: the last line of defence, and an alarm.

Every change adds the task that carries on from it in the same transaction, so there should never be anything to
find. Whatever is found is repaired, counted and logged as a warning: a count that is not zero means a bug, or
rows lost or edited by hand. Any number of engines run this loop; a repair done twice does no harm.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import timedelta

from ostinato.clock import Clock
from ostinato.errors import OstinatoError
from ostinato.jobflow.engine_tasks import LAUNCH_INVOCATION
from ostinato.jobflow.kick_triage import kick_triage
from ostinato.jobstore.reconcile_store import (
    JobRef,
    WaitingLaunch,
    find_unacknowledged,
    find_unseen_triggers,
    find_waiting_launches,
    lock_waiting_launches,
    set_launch_tasks,
)
from ostinato.pb.internal.v1.engine_tasks_pb2 import LaunchInvocationTask
from ostinato.storage.database import Database
from ostinato.taskqueue import Dispatcher, missing_tasks
from ostinato_engine.engine_metrics import EngineMetrics

_log = logging.getLogger(__name__)
_JOBS = 1000
# Looking tasks up by id reads the whole queue, so it is done for many at once.
_LAUNCHES = 10_000


@dataclass(frozen=True, slots=True)
class Reconciled:
    """How much of each kind was set going again."""

    unacknowledged_ends: int = 0
    missing_launches: int = 0
    unseen_triggers: int = 0


class ReconcileLoop:
    """`patience`: how long something may take by itself before it counts as standing still."""

    def __init__(
        self,
        db: Database,
        dispatcher: Dispatcher,
        *,
        clock: Clock,
        metrics: EngineMetrics,
        every: timedelta = timedelta(seconds=60),
        patience: timedelta = timedelta(seconds=60),
    ) -> None:
        self._db = db
        self._dispatcher = dispatcher
        self._clock = clock
        self._metrics = metrics
        self._every = every
        self._patience = patience

    async def run(self) -> None:
        while True:
            await self._clock.sleep(self._every.total_seconds())
            try:
                await self.reconcile()
            except OstinatoError as error:
                _log.warning("nothing was reconciled: %s", error)

    async def reconcile(self) -> Reconciled:
        """Looks at everything once; the bounded rest of a very large mess is found by the next rounds."""
        ended = await find_unacknowledged(self._db, older_than=self._patience, limit=_JOBS)
        await self._kick("ends of invocations that no triage acknowledged", "END", ended)
        launches = await self._relaunch()
        unseen = await find_unseen_triggers(self._db, older_than=self._patience, limit=_JOBS)
        await self._kick("pending triggers that no triage looked at", "TRIGGER", unseen)
        return Reconciled(len(ended), launches, len(unseen))

    async def _kick(self, what: str, label: str, jobs: list[JobRef]) -> None:
        if not jobs:
            return
        async with self._db.transaction() as tx:
            await kick_triage(tx, self._dispatcher, jobs)
        self._tell(what, label, [job_id for job_id, _ in jobs])

    async def _relaunch(self) -> int:
        after = relaunched = 0
        while waiting := await find_waiting_launches(self._db, older_than=self._patience, after=after, limit=_LAUNCHES):
            after = waiting[-1].invocation_id
            missing = await missing_tasks(self._db, [entry.launch_task_id for entry in waiting])
            lost = [entry for entry in waiting if entry.launch_task_id in missing]
            relaunched += await self._add_launches(lost) if lost else 0
        return relaunched

    async def _add_launches(self, lost: list[WaitingLaunch]) -> int:
        # A launch that ends completes its task and changes its invocation in one commit: an invocation that, after
        # the task was seen missing, still waits for that same task waits in vain.
        async with self._db.transaction() as tx:
            waiting = await lock_waiting_launches(tx, lost)
            task_ids = await self._dispatcher.add_many(
                LAUNCH_INVOCATION,
                [LaunchInvocationTask(job_id=entry.job_id, invocation_id=entry.invocation_id) for entry in waiting],
                tx=tx,
                fair_keys=[entry.project_id for entry in waiting],
            )
            await set_launch_tasks(tx, waiting, task_ids)
        if waiting:
            self._tell("launches whose task was gone", "LAUNCH", [entry.invocation_id for entry in waiting])
        return len(waiting)

    def _tell(self, what: str, label: str, ids: list[int]) -> None:
        self._metrics.reconciled.labels(label).inc(len(ids))
        _log.warning("%d %s were set going again, among them %s", len(ids), what, ids[:10])
