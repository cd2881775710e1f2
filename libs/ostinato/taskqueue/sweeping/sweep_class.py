"""The task class of sweeps, and how a dispatcher adds its tasks."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from ostinato.errors import OstinatoError
from ostinato.pb.taskqueue.v1.sweep_pb2 import SweepTask
from ostinato.taskqueue.dispatcher import Dispatcher
from ostinato.taskqueue.parallel_calls import for_each
from ostinato.taskqueue.sweeping.sweep_options import SweepOptions
from ostinato.taskqueue.sweeping.sweep_task import title_of
from ostinato.taskqueue.task_class import Backend, Retry, TaskClass, TaskKind
from ostinato.taskqueue.task_options import TaskOptions

SWEEP_DEADLINE = timedelta(minutes=10)
_AT_ONCE = 16
# In one process. Each has the ids of a whole scan in memory, more than a hundred requests under way, and a lease of a
# minute: many at once would all be too slow for theirs, and begin again and again.
_RUNNING = 4


def sweep_class(options: SweepOptions) -> TaskClass[SweepTask]:
    """Nobody tries its tasks again: what failed is answered like what did not."""
    return TaskClass(
        "tq-sweep",
        SweepTask,
        TaskKind.NON_TRANSACTIONAL,
        options.task_queue,
        Retry(max_attempts=1, min_backoff=timedelta(seconds=1), max_backoff=timedelta(seconds=15)),
        deadline=SWEEP_DEADLINE,
        max_running=_RUNNING,
        backend=Backend.CLOUD_TASKS,
        routing_prefix=options.task_prefix,
        target_host=options.task_host,
    )


class DispatchedSweepTasks:
    """A SweepTaskQueue. `task_class` was given to the dispatcher."""

    def __init__(self, dispatcher: Dispatcher, task_class: TaskClass[SweepTask]) -> None:
        self._dispatcher = dispatcher
        self._class = task_class

    async def add(self, tasks: Sequence[SweepTask]) -> None:
        errors: list[OstinatoError] = []

        async def add(task: SweepTask) -> None:
            try:
                await self._dispatcher.add(self._class, task, options=TaskOptions(title=title_of(task)))
            except OstinatoError as error:
                errors.append(error)

        await for_each(tasks, add, most=_AT_ONCE)
        if errors:
            raise errors[0]
