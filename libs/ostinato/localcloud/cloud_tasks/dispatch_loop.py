"""Dispatches what is due, from every queue, and sleeps until more is.

Everything that may be dispatched at a moment is begun at once; `idle` says when all that has ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Protocol, cast

from google.cloud import tasks_v2

from ostinato.clock import Clock
from ostinato.localcloud.cloud_tasks.dispatch_headers import dispatch_headers
from ostinato.localcloud.cloud_tasks.http_push import HttpPusher, Push
from ostinato.localcloud.cloud_tasks.push_authorization import PushAuthorization
from ostinato.localcloud.cloud_tasks.stored_queue import StoredQueue
from ostinato.localcloud.cloud_tasks.stored_task import StoredTask
from ostinato.localcloud.cloud_tasks.task_life import AttemptRecord
from ostinato.localcloud.faults import FaultPlan

# What the plan of faults calls a push.
DISPATCH = "dispatch"


class Queues(Protocol):
    def __iter__(self) -> Iterator[StoredQueue]: ...


class DispatchLoop:
    """`group` owns the pushes under way, and waits for their end."""

    def __init__(
        self,
        queues: Queues,
        group: asyncio.TaskGroup,
        *,
        clock: Clock,
        pusher: HttpPusher,
        authorization: PushAuthorization,
        faults: FaultPlan,
    ) -> None:
        self._queues = queues
        self._group = group
        self._clock = clock
        self._pusher = pusher
        self._authorization = authorization
        self._faults = faults
        self._poked = asyncio.Event()
        self._attempt_ended = asyncio.Condition()
        self._under_way: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        while True:
            self._poked.clear()
            self._begin_due()
            await self._sleep(self._seconds_to_next())

    def poke(self) -> None:
        """Something changed: look whether more may be dispatched."""
        self._poked.set()

    def close(self) -> None:
        """Cuts off the pushes under way; the group waits for their end."""
        for pushing in self._under_way:
            pushing.cancel()

    def dispatch_now(self, queue: StoredQueue, task: StoredTask) -> None:
        """Whatever the queue's state and limits say."""
        self._begin(queue, task, forced=True)

    async def idle(self) -> None:
        """Returns when nothing is under way and nothing more may be dispatched at this time."""
        async with self._attempt_ended:
            await self._attempt_ended.wait_for(self._is_idle)

    def _is_idle(self) -> bool:
        self._begin_due()
        return not self._under_way

    def _begin_due(self) -> None:
        now, at = self._clock.now(), self._clock.monotonic()
        for queue in self._queues:
            while (task := queue.take_due(now, at)) is not None:
                self._begin(queue, task)

    def _seconds_to_next(self) -> float | None:
        now, at = self._clock.now(), self._clock.monotonic()
        waits = [seconds for queue in self._queues if (seconds := queue.seconds_to_next(now, at)) is not None]
        return min(waits, default=None)

    async def _sleep(self, seconds: float | None) -> None:
        """Until then, or until poked."""
        if seconds is None:
            await self._poked.wait()
            return
        timer = asyncio.ensure_future(self._clock.sleep(seconds))
        timer.add_done_callback(self._time_is_up)
        try:
            await self._poked.wait()
        finally:
            timer.cancel()

    def _time_is_up(self, timer: asyncio.Future[None]) -> None:
        if not timer.cancelled():
            self.poke()

    def _begin(self, queue: StoredQueue, task: StoredTask, *, forced: bool = False) -> None:
        attempt = queue.begin_attempt(task, self._clock.now())
        push = self._push_of(task, attempt)
        pushing = self._group.create_task(self._attempt(queue, task, attempt, push, forced=forced))
        self._under_way.add(pushing)

    async def _attempt(
        self, queue: StoredQueue, task: StoredTask, attempt: AttemptRecord, push: Push, *, forced: bool
    ) -> None:
        result = await self._pusher.push(push, self._faults.choose(DISPATCH))
        queue.end_attempt(task, attempt, result, self._clock.now(), forced=forced)
        self._under_way.discard(cast("asyncio.Task[None]", asyncio.current_task()))
        self.poke()
        async with self._attempt_ended:
            self._attempt_ended.notify_all()

    def _push_of(self, task: StoredTask, attempt: AttemptRecord) -> Push:
        http = task.http
        headers = dispatch_headers(
            task.name,
            task.state,
            attempt,
            http.headers,
            has_body=bool(http.body),
            authorization=self._authorization.header(http),
        )
        return Push(tasks_v2.HttpMethod(http.http_method).name, http.url, headers, http.body, task.deadline)
