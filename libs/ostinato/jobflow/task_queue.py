"""The queue of the scheduler's tasks, as a process adds to it: wherever the settings say that tasks wait."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ostinato.clock import Clock
from ostinato.config.cloud_tasks import CloudTasksSettings
from ostinato.config.sweeping import SweeperKind, SweepSettings
from ostinato.pb.taskqueue.v1.sweep_pb2 import SweepTask
from ostinato.storage.database import Database
from ostinato.taskqueue import Backend, Dispatcher, QueueSettings, TaskClass, open_dispatcher
from ostinato.taskqueue.reminders.refusal_policy import RefusalPolicy
from ostinato.taskqueue.sweeping.distributed_sweeper import DistributedSweeper
from ostinato.taskqueue.sweeping.in_process_sweeper import InProcessSweeper
from ostinato.taskqueue.sweeping.lessor import DatabaseLessor, LessorStats
from ostinato.taskqueue.sweeping.sweep_class import DispatchedSweepTasks, sweep_class
from ostinato.taskqueue.sweeping.sweep_loop import Sweeper
from ostinato.taskqueue.sweeping.sweep_options import SweepOptions
from ostinato.taskqueue.sweeping.sweep_stats import SweepStats
from ostinato.taskqueue.sweeping.undeterred_sweeper import UndeterredSweeper

if TYPE_CHECKING:  # it needs the extra `cloud`
    from ostinato.taskqueue.cloud_tasks.cloud_tasks_queue import CloudTasksQueue


@dataclass(frozen=True, slots=True)
class Sweeping:
    """`sweeper` is what this process begins sweeps with. `distributed` handles tasks of class `task_class` in any case:
    another process may begin sweeps otherwise.
    """

    sweeper: Sweeper
    distributed: DistributedSweeper
    task_class: TaskClass[SweepTask]
    stats: tuple[SweepStats, ...]
    leases: LessorStats


@dataclass(frozen=True, slots=True)
class TaskQueue:
    """`remote` and `sweeping` are None where tasks wait in the database."""

    dispatcher: Dispatcher
    remote: CloudTasksQueue | None = None
    sweeping: Sweeping | None = None


@asynccontextmanager
async def open_task_queue(
    db: Database,
    settings: CloudTasksSettings | None,
    *,
    classes: Sequence[TaskClass[Any]],
    clock: Clock,
    notify: bool = True,
    queues: Sequence[QueueSettings] = (),
    prepares: bool = False,
) -> AsyncIterator[TaskQueue]:
    """`prepares`: queues of the remote one are created where missing, or verified where settings leave that to others.

    At the end of the block what was committed is submitted, as far as there is time; the rest is swept.
    """
    if settings is None:
        async with open_dispatcher(db, classes=classes, clock=clock, notify=notify, queues=queues) as dispatcher:
            yield TaskQueue(dispatcher)
        return
    from ostinato.taskqueue.cloud_tasks.cloud_tasks_queue import open_cloud_tasks_queue

    sweeps = sweep_class(_options(settings.sweep))
    async with (
        open_cloud_tasks_queue(
            settings, db, clock=clock, refusals=_refusals(settings), looks_after_queues=prepares
        ) as remote,
        open_dispatcher(
            db,
            classes=[*classes, sweeps],
            clock=clock,
            notify=notify,
            queues=queues,
            backend=Backend.CLOUD_TASKS,
            remote=remote,
        ) as dispatcher,
    ):
        yield TaskQueue(
            dispatcher, remote, _sweeping(db, settings.sweep, dispatcher, remote, task_class=sweeps, clock=clock)
        )


def _refusals(settings: CloudTasksSettings) -> RefusalPolicy:
    """Refused at least twice before it is parked."""
    usual = RefusalPolicy()
    return replace(usual, spacing=min(usual.spacing, settings.park_after), park_after=settings.park_after)


def _options(settings: SweepSettings) -> SweepOptions:
    return SweepOptions(
        shards=settings.shards,
        tasks_per_scan=settings.tasks_per_scan,
        secondary_scan_shards=settings.secondary_scan_shards,
        task_queue=settings.task_queue,
        task_prefix=settings.task_prefix,
        task_host=settings.task_host,
    )


def _sweeping(
    db: Database,
    settings: SweepSettings,
    dispatcher: Dispatcher,
    remote: CloudTasksQueue,
    *,
    task_class: TaskClass[SweepTask],
    clock: Clock,
) -> Sweeping:
    options, lessor = _options(settings), DatabaseLessor(db, clock)
    distributed = DistributedSweeper(
        db,
        remote.submissions,
        DispatchedSweepTasks(dispatcher, task_class),
        clock,
        lessors={options.lessor: lessor},
        options=options,
    )
    in_process = InProcessSweeper(db, remote.submissions, clock, options=options)
    sweeper: Sweeper = in_process
    if settings.sweeper is SweeperKind.DISTRIBUTED:
        sweeper = UndeterredSweeper(distributed, in_process)
    return Sweeping(sweeper, distributed, task_class, (distributed.stats, in_process.stats), lessor.stats)
