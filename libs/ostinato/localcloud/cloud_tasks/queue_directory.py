"""All queues of the server, and the names of deleted ones, which stay taken for a while. In memory, no waiting."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from google.cloud import tasks_v2

from ostinato.clock import Clock
from ostinato.errors import AlreadyExists, FailedPrecondition, NotFound
from ostinato.localcloud.cloud_tasks.resource_names import LocationName, QueueName, TaskName, location_of, queue_of
from ostinato.localcloud.cloud_tasks.stored_queue import StoredQueue
from ostinato.localcloud.cloud_tasks.stored_task import StoredTask


@dataclass(frozen=True, slots=True)
class TombstoneSettings:
    """How long names stay taken: of tasks after they ended or were deleted, of queues after their deletion.

    Cloud Tasks documents "up to" 24 hours and 3 days; of tasks, one hour can be relied on.
    """

    tasks: timedelta = timedelta(hours=1)
    queues: timedelta = timedelta(days=3)


class QueueDirectory:
    """Errors are those that callers get."""

    def __init__(self, clock: Clock, tombstones: TombstoneSettings) -> None:
        self._clock = clock
        self._lives = tombstones
        self._queues: dict[QueueName, StoredQueue] = {}
        self._deleted: dict[QueueName, datetime] = {}

    def __iter__(self) -> Iterator[StoredQueue]:
        return iter(self._queues.values())

    def in_location(self, location: LocationName) -> list[StoredQueue]:
        """In lexicographical order."""
        return sorted((queue for queue in self if location_of(queue.name) == location), key=lambda queue: queue.name)

    def find(self, name: QueueName) -> StoredQueue | None:
        return self._queues.get(name)

    def get(self, name: QueueName) -> StoredQueue:
        """Raises NotFound."""
        queue = self._queues.get(name)
        if queue is None:
            raise NotFound(f"The queue {name} does not exist.", resource=name)
        return queue

    def get_to_add(self, name: QueueName) -> StoredQueue:
        """Raises NotFound, or FailedPrecondition for a queue that was deleted not long ago."""
        if name not in self._queues and self._was_deleted_recently(name):
            raise FailedPrecondition(f"The queue {name} no longer exists, though one with this name existed recently.")
        return self.get(name)

    def get_task(self, name: TaskName) -> tuple[StoredQueue, StoredTask]:
        """Raises NotFound also for a task that has ended."""
        queue = self.get(queue_of(name))
        task = queue.find(name)
        if task is not None:
            return queue, task
        if queue.existed_recently(name, self._clock.now()):
            raise NotFound(
                f"The task {name} no longer exists: it either completed or failed for good, or was deleted.",
                resource=name,
            )
        raise NotFound(f"The task {name} does not exist.", resource=name)

    def create(self, config: tasks_v2.Queue) -> StoredQueue:
        """`config` is complete and its name right."""
        name = QueueName(config.name)
        if name in self._queues:
            raise AlreadyExists(f"The queue {name} exists.", resource=name)
        if self._was_deleted_recently(name):
            raise FailedPrecondition(
                f"The queue {name} can't be created because a queue with this name existed too recently."
            )
        queue = StoredQueue(config, tombstone_life=self._lives.tasks, at=self._clock.monotonic())
        self._queues[name] = queue
        return queue

    def delete(self, name: QueueName) -> None:
        """With all its tasks; attempts under way end by themselves."""
        now = self._clock.now()
        self.get(name).purge(now)
        del self._queues[name]
        self._deleted[name] = now + self._lives.queues

    def _was_deleted_recently(self, name: QueueName) -> bool:
        until = self._deleted.get(name)
        if until is not None and until <= self._clock.now():
            del self._deleted[name]
            return False
        return until is not None
