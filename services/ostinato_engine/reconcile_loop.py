"""Sets going again what stands still although it should not: the last line of defence, and an alarm.

Every change adds the task that carries on from it in the same transaction, so there should never be anything to
find. Whatever is found is repaired, counted and logged as a warning: a count that is not zero means a bug, or
rows lost or edited by hand. Any number of engines run this loop; a repair done twice does no harm.

Nothing counts as standing still while a task for it is in the queue, however long it waits there. What a remote queue
lists is no snapshot, so there a task is missing when two rounds in a row have missed it.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any

from ostinato.clock import Clock
from ostinato.errors import OstinatoError
from ostinato.jobflow.engine_tasks import HANDLE_TIMER, LAUNCH_INVOCATION, TRIAGE_JOB
from ostinato.jobflow.kick_triage import kick_triage
from ostinato.jobstore.job_cron_store import find_overdue
from ostinato.jobstore.reconcile_store import (
    FoundJobs,
    JobRef,
    WaitingLaunch,
    find_ended,
    find_waiting_jobs,
    find_waiting_launches,
    lock_waiting_launches,
    set_launch_tasks,
)
from ostinato.jobstore.timer_store import StoredTimer, find_overdue_timers, lock_waiting_timers, set_timer_tasks
from ostinato.pb.internal.v1.engine_tasks_pb2 import HandleTimerTask, LaunchInvocationTask, TriageJobTask
from ostinato.storage.database import Database, Reader
from ostinato.taskqueue import Dispatcher, TaskClass, find_queued_payloads, missing_tasks, remote_payloads
from ostinato_engine.engine_metrics import EngineMetrics
from ostinato_engine.reconcile_ticks import find_standing_ticks, plan_again

_log = logging.getLogger(__name__)
_JOBS = 1000
# Looking tasks up by id reads the whole queue, so it is done for many at once.
_MANY = 10_000


class Standing(StrEnum):
    """What was found standing still."""

    FINISH = "FINISH"  # an end that no triage will acknowledge
    TRIAGE = "TRIAGE"  # a pending trigger that no triage will look at
    LAUNCH = "LAUNCH"  # an invocation whose launch task is gone
    TIMER = "TIMER"  # a timer whose task is gone
    TICK = "TICK"  # a schedule that goes on and is not due, or has been due for long


_TOLD = {
    Standing.FINISH: "jobs with ends that no triage would have acknowledged",
    Standing.TRIAGE: "jobs with triggers that no triage would have looked at",
    Standing.LAUNCH: "launches whose task was gone",
    Standing.TIMER: "timers whose task was gone",
    Standing.TICK: "schedules that had stopped",
}


@dataclass(frozen=True, slots=True)
class Reconciled:
    """How many of each kind were set going again."""

    finishes: int = 0
    triages: int = 0
    launches: int = 0
    timers: int = 0
    ticks: int = 0


class ReconcileLoop:
    """`patience`: how long something may take by itself before it is looked at.

    `fire_due` fires what is due, as the clock of schedules does.
    """

    def __init__(
        self,
        db: Database,
        dispatcher: Dispatcher,
        *,
        clock: Clock,
        metrics: EngineMetrics,
        fire_due: Callable[[], Awaitable[object]],
        every: timedelta = timedelta(seconds=60),
        patience: timedelta = timedelta(seconds=60),
    ) -> None:
        self._db = db
        self._dispatcher = dispatcher
        self._clock = clock
        self._metrics = metrics
        self._fire_due = fire_due
        self._every = every
        self._patience = patience
        self._overdue: set[int] = set()  # jobs whose schedules were overdue in the last round
        # By kind, what a remote queue had no task for, in this round and in the last one.
        self._unlisted: dict[Standing, set[int]] = {}
        self._unlisted_before: dict[Standing, set[int]] = {}

    async def run(self) -> None:
        while True:
            await self._clock.sleep(self._every.total_seconds())
            try:
                await self.reconcile()
            except OstinatoError as error:
                self._overdue = set()
                _log.warning("nothing was reconciled: %s", error)

    async def reconcile(self) -> Reconciled:
        """Looks at everything once; the bounded rest of a very large mess is found by the next rounds."""
        self._unlisted_before, self._unlisted = self._unlisted, {}
        return Reconciled(
            finishes=await self._kick_standing(Standing.FINISH, find_ended),
            triages=await self._kick_standing(Standing.TRIAGE, find_waiting_jobs),
            launches=await self._relaunch(),
            timers=await self._bring_timers(),
            ticks=await self._plan_ticks() + await self._fire_overdue(),
        )

    async def _kick_standing(self, what: Standing, find: Callable[..., Awaitable[FoundJobs]]) -> int:
        after: int | None = 0
        standing = list[JobRef]()
        while after is not None and len(standing) < _JOBS:
            async with self._db.transaction() as tx:
                await tx.read_one_snapshot()
                found = await find(tx, older_than=self._patience, after=after, limit=_JOBS)
                standing += await self._without_kick(tx, found.jobs)
            after = found.last
        standing = await self._without_remote_kick(what, standing)
        await self._kick(what, standing)
        return len(standing)

    async def _without_kick(self, reader: Reader, jobs: Sequence[JobRef]) -> list[JobRef]:
        if not jobs:
            return []
        payloads = _kicks(jobs)
        queued = await find_queued_payloads(reader, self._dispatcher.class_ids[TRIAGE_JOB.name], payloads.keys())
        return [job for payload, job in payloads.items() if payload not in queued]

    async def _without_remote_kick(self, what: Standing, jobs: Sequence[JobRef]) -> list[JobRef]:
        """Behind the snapshot: nobody keeps a transaction open while he asks another system."""
        payloads = _kicks(jobs)
        queued = await remote_payloads(self._dispatcher, TRIAGE_JOB, payloads.keys())
        missing = {job[0]: job for payload, job in payloads.items() if payload not in queued}
        return [missing[job_id] for job_id in sorted(self._surely_missing(what, TRIAGE_JOB, set(missing)))]

    def _surely_missing(self, what: Standing, task_class: TaskClass[Any], missing: set[int]) -> set[int]:
        if self._dispatcher.remote_of(task_class) is None:
            return missing
        self._unlisted.setdefault(what, set()).update(missing)
        return missing & self._unlisted_before.get(what, set())

    async def _kick(self, what: Standing, jobs: Sequence[JobRef]) -> None:
        if jobs:
            async with self._db.transaction() as tx:
                await kick_triage(tx, self._dispatcher, jobs)
            self._tell(what, [job_id for job_id, _ in jobs])

    async def _relaunch(self) -> int:
        after = relaunched = 0
        while waiting := await find_waiting_launches(self._db, older_than=self._patience, after=after, limit=_MANY):
            after = waiting[-1].invocation_id
            missing = await self._missing(Standing.LAUNCH, LAUNCH_INVOCATION, [each.launch_task_id for each in waiting])
            lost = [entry for entry in waiting if entry.launch_task_id in missing]
            relaunched += await self._add_launches(lost) if lost else 0
        return relaunched

    async def _missing(self, what: Standing, task_class: TaskClass[Any], task_ids: Sequence[int]) -> set[int]:
        missing = await missing_tasks(self._dispatcher, task_class, task_ids) if task_ids else set()
        return self._surely_missing(what, task_class, missing)

    async def _add_launches(self, lost: Sequence[WaitingLaunch]) -> int:
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
        self._tell(Standing.LAUNCH, [entry.invocation_id for entry in waiting])
        return len(waiting)

    async def _bring_timers(self) -> int:
        overdue = await find_overdue_timers(self._db, older_than=self._patience, limit=_MANY)
        missing = await self._missing(Standing.TIMER, HANDLE_TIMER, [timer.task_id for timer in overdue])
        lost = [timer for timer in overdue if timer.task_id in missing]
        return await self._add_timers(lost) if lost else 0

    async def _add_timers(self, lost: Sequence[StoredTimer]) -> int:
        # As with launches: the end of its task takes the timer along.
        async with self._db.transaction() as tx:
            waiting = await lock_waiting_timers(tx, lost)
            task_ids = await self._dispatcher.add_many(
                HANDLE_TIMER,
                [HandleTimerTask(invocation_id=timer.invocation_id, timer_id=timer.timer_id) for timer, _ in waiting],
                tx=tx,
                fair_keys=[project_id for _, project_id in waiting],
            )
            await set_timer_tasks(tx, [timer for timer, _ in waiting], task_ids)
        self._tell(Standing.TIMER, [timer.invocation_id for timer, _ in waiting])
        return len(waiting)

    async def _plan_ticks(self) -> int:
        after = planned = 0
        while True:
            async with self._db.transaction() as tx:
                await tx.read_one_snapshot()
                ticks = await find_standing_ticks(tx, after=after, limit=_JOBS)
                waiting = await self._without_kick(tx, ticks.waiting_for_an_end)
            if ticks.stopped:
                planned += await self._plan(ticks.stopped)
            waiting = await self._without_remote_kick(Standing.TICK, waiting)
            await self._kick(Standing.TICK, waiting)
            planned += len(waiting)
            if ticks.last is None:
                return planned
            after = ticks.last

    async def _plan(self, job_ids: Collection[int]) -> int:
        async with self._db.transaction() as tx:
            planned = await plan_again(tx, job_ids)
        self._tell(Standing.TICK, planned)
        return len(planned)

    async def _fire_overdue(self) -> int:
        """What has been due for two rounds: one may fall just before the clock of schedules gets to it."""
        overdue = await find_overdue(self._db, older_than=self._patience, limit=_JOBS)
        standing, self._overdue = overdue & self._overdue, overdue
        if standing:
            await self._fire_due()
            self._tell(Standing.TICK, sorted(standing))
        return len(standing)

    def _tell(self, what: Standing, ids: Sequence[int]) -> None:
        if ids:
            self._metrics.reconciled.labels(what).inc(len(ids))
            _log.warning("%d %s were set going again, among them %s", len(ids), _TOLD[what], list(ids[:10]))


def _kicks(jobs: Sequence[JobRef]) -> dict[bytes, JobRef]:
    """By the payload of the task that would look at it."""
    return {TriageJobTask(job_id=job_id).SerializeToString(): (job_id, project) for job_id, project in jobs}
