"""One queue in memory: its tasks, the names that are still taken, and what may be dispatched when.

Nothing here waits or calls out. What waits is a heap by time; an entry counts only while it is its task's newest.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator
from datetime import datetime, timedelta

from google.cloud import tasks_v2

from ostinato.localcloud.cloud_tasks.attempt_result import AttemptResult
from ostinato.localcloud.cloud_tasks.congestion import CONGESTED, Congestion
from ostinato.localcloud.cloud_tasks.queue_rules import parse_retry_rules
from ostinato.localcloud.cloud_tasks.rate_bucket import RateBucket
from ostinato.localcloud.cloud_tasks.resource_names import QueueName, TaskName
from ostinato.localcloud.cloud_tasks.retry_rules import RetryRules
from ostinato.localcloud.cloud_tasks.stored_task import StoredTask
from ostinato.localcloud.cloud_tasks.task_life import (
    RETENTION,
    AttemptRecord,
    dispatch,
    end_attempt,
    schedule_retry,
)
from ostinato.localcloud.cloud_tasks.wire_types import Queue, set_instant

_State = tasks_v2.Queue.State


class StoredQueue:
    """`config` is complete: every default is filled in."""

    def __init__(self, config: tasks_v2.Queue, *, tombstone_life: timedelta, at: float) -> None:
        self.name = QueueName(config.name)
        self.running = 0
        self._config = config
        self._tombstone_life = tombstone_life
        self._tasks: dict[TaskName, StoredTask] = {}
        self._tombstones: dict[TaskName, datetime] = {}
        self._tombstones_by_age: deque[TaskName] = deque()
        self._waiting: list[tuple[datetime, int, StoredTask]] = []
        self._tickets = 0
        self._congestion = Congestion()
        limits = config.rate_limits
        self._bucket = RateBucket(limits.max_dispatches_per_second, limits.max_burst_size, at)
        self._retry = parse_retry_rules("queue.retry_config", config.retry_config)
        self._set_state(_State(_State.RUNNING))

    # What callers see and change

    @property
    def config(self) -> tasks_v2.Queue:
        """A copy."""
        copy = Queue()
        copy.CopyFrom(self._config)
        return copy

    @property
    def is_paused(self) -> bool:
        return bool(self._config.state == _State.PAUSED)

    def reconfigure(self, config: tasks_v2.Queue, at: float) -> None:
        """`config` is complete. The state stays."""
        state = self._config.state
        self._config.CopyFrom(config)
        self._set_state(state)
        limits = config.rate_limits
        self._bucket.reshape(limits.max_dispatches_per_second, limits.max_burst_size, at)
        self._retry = parse_retry_rules("queue.retry_config", config.retry_config)

    def pause(self) -> None:
        self._set_state(_State(_State.PAUSED))

    def resume(self) -> None:
        self._set_state(_State(_State.RUNNING))

    def _set_state(self, state: tasks_v2.Queue.State) -> None:
        self._config.state = state

    def purge(self, now: datetime) -> None:
        """Attempts under way are not called back; what comes of them is nobody's any more."""
        for name in list(self._tasks):
            self.delete(name, now)
        set_instant(self._config.purge_time, now)

    def tasks(self) -> Iterator[StoredTask]:
        """In the order in which they were created."""
        return iter(self._tasks.values())

    def find(self, name: TaskName) -> StoredTask | None:
        return self._tasks.get(name)

    def existed_recently(self, name: TaskName, now: datetime) -> bool:
        self._forget_old_names(now)
        return name in self._tombstones

    def add(self, task: StoredTask) -> None:
        self._tasks[task.name] = task
        self._wait(task)

    def delete(self, name: TaskName, now: datetime) -> None:
        """Its name stays taken for the life of a tombstone."""
        self._forget_old_names(now)
        del self._tasks[name]
        self._tombstones.pop(name, None)
        self._tombstones[name] = now + self._tombstone_life
        self._tombstones_by_age.append(name)

    def _forget_old_names(self, now: datetime) -> None:
        while self._tombstones_by_age:
            oldest = self._tombstones_by_age[0]
            if self._tombstones.get(oldest, now) > now:
                return
            self._tombstones.pop(oldest, None)
            self._tombstones_by_age.popleft()

    # What is dispatched

    def take_due(self, now: datetime, at: float) -> StoredTask | None:
        """The next task that may be dispatched now; it uses up a token."""
        if self.is_paused or self.running >= self._config.rate_limits.max_concurrent_dispatches:
            return None
        due = self._due(now)
        if due is None or self._congestion.held_until(now) or not self._bucket.take(at):
            return None
        heapq.heappop(self._waiting)
        return due

    def seconds_to_next(self, now: datetime, at: float) -> float | None:
        """Until something may be dispatched; None if only a change of the queue makes that possible."""
        if self.is_paused or self.running >= self._config.rate_limits.max_concurrent_dispatches:
            return None
        self._drop_outdated()
        if not self._waiting:
            return None
        held_until = self._congestion.held_until(now) or now
        earliest = max(self._waiting[0][0], held_until)
        return max((earliest - now).total_seconds(), self._bucket.seconds_to_next(at))

    def begin_attempt(self, task: StoredTask, now: datetime) -> AttemptRecord:
        task.ticket = 0  # no place among what waits, while it runs
        task.running += 1
        self.running += 1
        task.state, attempt = dispatch(task.state, now)
        return attempt

    def end_attempt(
        self, task: StoredTask, attempt: AttemptRecord, result: AttemptResult, now: datetime, *, forced: bool = False
    ) -> None:
        """Deletes the task if it is done or has failed for good. `forced`: the delay counts from the dispatch."""
        self.running -= 1
        task.running -= 1
        self._consider_congestion(attempt, result, now)
        if self._tasks.get(task.name) is not task:
            return
        task.state = end_attempt(task.state, attempt, result, now)
        if result.succeeded:
            self.delete(task.name, now)
        elif not task.running:
            self._retry_or_delete(task, now, delayed_from=attempt.dispatched_at if forced else now)

    def _retry_or_delete(self, task: StoredTask, now: datetime, *, delayed_from: datetime) -> None:
        state = schedule_retry(task.state, self._rules_of(task), now, delayed_from=delayed_from)
        if state is None:
            self.delete(task.name, now)
        else:
            task.state = state
            self._wait(task)

    def _rules_of(self, task: StoredTask) -> RetryRules:
        return task.retry or self._retry

    def _consider_congestion(self, attempt: AttemptRecord, result: AttemptResult, now: datetime) -> None:
        if result.succeeded:
            self._congestion.succeeded()
        elif result.http_status in CONGESTED:
            self._congestion.pushed_back(attempt.dispatched_at, now, result.retry_after)

    def _wait(self, task: StoredTask) -> None:
        self._tickets += 1
        task.ticket = self._tickets
        heapq.heappush(self._waiting, (task.state.scheduled_at, task.ticket, task))

    def _due(self, now: datetime) -> StoredTask | None:
        """Without taking it away. What is too old is deleted instead."""
        self._drop_outdated()
        while self._waiting and self._waiting[0][0] <= now:
            task = self._waiting[0][2]
            if now < task.state.created_at + RETENTION:
                return task
            self.delete(task.name, now)
            self._drop_outdated()
        return None

    def _drop_outdated(self) -> None:
        while self._waiting:
            _, ticket, task = self._waiting[0]
            if task.ticket == ticket and self._tasks.get(task.name) is task:
                return
            heapq.heappop(self._waiting)
