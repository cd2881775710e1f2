"""What the queue should hold, told in a few lines of Python: the model that the walks compare the tables with."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from ostinato.taskqueue.embedded.ready_store import Fence
from ostinato.taskqueue.task_flags import SUSPECT_FROM

WINDOW = timedelta(hours=1)


class Place(StrEnum):
    READY = "ready"
    CLAIMED = "claimed"
    LATER = "later"
    DEAD = "dead"
    ENDED = "ended"


@dataclass(slots=True)
class ModelTask:
    """`due_at` is when it was or is due, `added_at` what a purge of delayed tasks looks at."""

    id: int
    place: Place
    due_at: datetime
    added_at: datetime
    key: str | None = None
    holder: int = 0
    fence: Fence | None = None
    crashes: int = 0


@dataclass(slots=True)
class Name:
    """`free_at` None: its task has not ended."""

    task_id: int
    free_at: datetime | None = None


@dataclass(slots=True)
class QueueModel:
    now: datetime
    tasks: dict[int, ModelTask] = field(default_factory=dict)
    names: dict[str, Name] = field(default_factory=dict)
    workers: dict[int, bool] = field(default_factory=dict)  # whether the lease holds
    paused: bool = False
    purged_at: datetime | None = None

    def at(self, place: Place, holder: int = 0) -> list[ModelTask]:
        return [task for task in self.tasks.values() if task.place is place and task.holder == holder]

    def held_by(self, worker_id: int) -> list[ModelTask]:
        return self.at(Place.CLAIMED, worker_id)

    def add(self, task_id: int, delay: timedelta, key: str | None = None) -> None:
        place = Place.LATER if delay else Place.READY
        self.tasks[task_id] = ModelTask(task_id, place, self.now + delay, self.now, key)
        if key is not None:
            self.names[key] = Name(task_id)

    def key_is_free(self, key: str) -> bool:
        name = self.names.get(key)
        return name is None or (name.free_at is not None and name.free_at <= self.now)

    def is_deleted(self, task: ModelTask) -> bool:
        """A named task is alive if and only if its name is its own and has not ended."""
        if task.key is None:
            return False
        name = self.names.get(task.key)
        return name is None or name.task_id != task.id or name.free_at is not None

    def end_name(self, key: str) -> bool:
        name = self.names.get(key)
        if name is None or name.free_at is not None:
            return False
        name.free_at = self.now + WINDOW
        return True

    def end(self, task: ModelTask, place: Place = Place.ENDED) -> None:
        """Done, dropped or dead: its name, if that is still its own, becomes free after the window."""
        if task.key is not None and not self.is_deleted(task):
            self.end_name(task.key)
        task.place, task.holder, task.fence = place, 0, None

    def claim(self, task: ModelTask, holder: int, fence: Fence) -> None:
        assert task.place in (Place.READY, Place.LATER), f"{task} was claimed"
        task.place, task.holder, task.fence = Place.CLAIMED, holder, fence

    def free(self, task: ModelTask) -> None:
        task.place, task.holder, task.fence = Place.READY, 0, None

    def retry(self, task: ModelTask, delay: timedelta) -> None:
        task.place, task.holder, task.fence = Place.LATER, 0, None
        task.due_at, task.added_at, task.crashes = self.now + delay, self.now, 0

    def requeue(self, task: ModelTask) -> None:
        """It takes its name again if nobody else has it."""
        task.place, task.due_at, task.added_at, task.crashes = Place.READY, self.now, self.now, 0
        name = self.names.get(task.key) if task.key is not None else None
        if name is not None and name.task_id == task.id:
            name.free_at = None
        else:
            task.key = None

    def reap(self, worker_id: int) -> int:
        """Nothing is marked as alone in these walks, so that only the first two deaths are charged."""
        freed = self.held_by(worker_id)
        for task in freed:
            task.crashes += task.crashes < SUSPECT_FROM
            self.free(task)
        del self.workers[worker_id]
        return len(freed)

    def is_purged(self, task: ModelTask) -> bool:
        return self.purged_at is not None and task.due_at < self.purged_at

    def is_purged_while_later(self, task: ModelTask) -> bool:
        return self.purged_at is not None and task.added_at < self.purged_at

    def purge(self) -> int:
        self.purged_at = self.now
        purged = [task for task in self.at(Place.READY) if self.is_purged(task)]
        purged += [task for task in self.at(Place.LATER) if self.is_purged_while_later(task)]
        for task in purged:
            self.end(task)
        return len(purged)

    def forget_free_names(self) -> int:
        free = [key for key, name in self.names.items() if name.free_at is not None and name.free_at <= self.now]
        for key in free:
            del self.names[key]
        return len(free)
