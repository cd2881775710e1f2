"""Cloud Tasks as the local cloud has it, without sockets: simulated processes call it and are called by it.

Its names, tombstones, retries and faults of pushes are those of `ostinato.localcloud`; a call is a step of its
process's gate, like a statement, and fails as these do.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random
from typing import Any, cast

import grpc
from google.cloud import tasks_v2

from ostinato.clock import Clock
from ostinato.config.cloud_tasks import CloudTasksSettings
from ostinato.errors import OstinatoError, Unavailable
from ostinato.localcloud.cloud_tasks import wire_types as wire
from ostinato.localcloud.cloud_tasks.attempt_result import AttemptResult, answered, unanswered
from ostinato.localcloud.cloud_tasks.dispatch_loop import DispatchLoop
from ostinato.localcloud.cloud_tasks.http_push import HttpPusher, Push
from ostinato.localcloud.cloud_tasks.push_authorization import PushAuthorization
from ostinato.localcloud.cloud_tasks.queue_directory import QueueDirectory, TombstoneSettings
from ostinato.localcloud.cloud_tasks.queue_methods import QueueMethods
from ostinato.localcloud.cloud_tasks.task_methods import TaskMethods
from ostinato.localcloud.faults import FaultPlan
from ostinato.rpc.error_mapping import status_code
from ostinato.storage.transaction import Gate, gated
from ostinato.taskqueue.cloud_tasks.remote_names import location_path, queue_path

SETTINGS = CloudTasksSettings("shop", "here", "https://engine.example", "push@shop.example")
# Takes the body of a push: true if it was answered with success. None: whoever was asked is gone.
Receive = Callable[[bytes], Awaitable[bool | None]]

_NOT_DONE = ("UNAVAILABLE", "RESOURCE_EXHAUSTED", "ABORTED", "INTERNAL")
_REFUSED = ("PERMISSION_DENIED", "FAILED_PRECONDITION")
_IN_DOUBT = ("DEADLINE_EXCEEDED", "UNKNOWN", "INTERNAL", "CANCELLED", "UNAVAILABLE")


class RemoteCloud:
    """Build it with `open_remote_cloud`. `added`: how often each body was taken as a task."""

    def __init__(self, queues: QueueDirectory, loop: DispatchLoop, clock: Clock) -> None:
        self.added: Counter[bytes] = Counter()
        self._queues = QueueMethods(queues, loop, clock)
        self._tasks = TaskMethods(queues, loop, clock)

    async def create_queue(self, name: str) -> None:
        queue = wire.Queue(name=queue_path(SETTINGS.project, SETTINGS.location, name))
        parent = location_path(SETTINGS.project, SETTINGS.location)
        await self._queues.create_queue(wire.CreateQueueRequest(parent=parent, queue=queue))

    async def create_task(self, request: tasks_v2.CreateTaskRequest) -> Any:
        task = await self._tasks.create_task(request)
        self.added[request.task.http_request.body] += 1
        return task


class RemoteChannel:
    """The connection of one process, for adding tasks. `refuses`: now and then it is refused for good."""

    def __init__(self, cloud: RemoteCloud, gate: Gate, random: Random, clock: Clock, *, refuses: bool) -> None:
        self._cloud = cloud
        self._gate = gate
        self._random = random
        self._clock = clock
        self._not_done = _NOT_DONE + (_REFUSED if refuses else ())

    def unary_unary(self, method: str) -> Callable[..., Awaitable[bytes]]:
        assert method == "/google.cloud.tasks.v2.CloudTasks/CreateTask"
        return self._create_task

    async def _create_task(self, request: bytes, **_: object) -> bytes:
        """Takes its time; raises what a channel does."""
        decoded = wire.CreateTaskRequest.FromString(request)
        if wait := self._random.choice((0.0, 0.0, 0.0, 0.01, 1.0)):
            await self._clock.sleep(wait)
        done = False

        async def create() -> bytes:
            nonlocal done
            task = await self._cloud.create_task(decoded)
            done = True
            answer: bytes = task.SerializeToString()
            return answer

        try:
            return await gated(self._gate, f"SUBMIT {decoded.task.name.rpartition('/')[2]}", None, create)
        except Unavailable as error:
            raise _status(self._random.choice(_IN_DOUBT if done else self._not_done), error) from error
        except OstinatoError as error:
            raise _status(status_code(error).name, error) from error


def _status(code: str, error: OstinatoError) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(grpc.StatusCode[code], grpc.aio.Metadata(), grpc.aio.Metadata(), details=str(error))


@dataclass(frozen=True, slots=True)
class _Transport:
    grpc_channel: RemoteChannel


@dataclass(frozen=True, slots=True)
class RemoteClient:
    """What of the official client adds tasks."""

    transport: _Transport


def client_on(channel: RemoteChannel) -> tasks_v2.CloudTasksAsyncClient:
    return cast(tasks_v2.CloudTasksAsyncClient, RemoteClient(_Transport(channel)))


class _Pusher(HttpPusher):
    """Pushes to processes instead of URLs."""

    def __init__(self, receive: Receive, clock: Clock) -> None:
        self._clock = clock
        self._receive = receive

    async def _send(self, push: Push) -> AttemptResult:
        answer = await self._receive(push.body)
        return unanswered("UNAVAILABLE", "nobody is there") if answer is None else answered(200 if answer else 500)


class _NoAuthorization(PushAuthorization):
    def __init__(self) -> None:
        """There is nothing to sign with."""

    def header(self, _: tasks_v2.HttpRequest) -> None:
        return None


@asynccontextmanager
async def open_remote_cloud(receive: Receive, clock: Clock, faults: FaultPlan) -> AsyncIterator[RemoteCloud]:
    """Dispatches during the block. `faults` are those of pushes."""
    queues = QueueDirectory(clock, TombstoneSettings())
    async with asyncio.TaskGroup() as group:
        loop = DispatchLoop(
            queues,
            group,
            clock=clock,
            pusher=_Pusher(receive, clock),
            authorization=_NoAuthorization(),
            faults=faults,
        )
        running = group.create_task(loop.run())
        try:
            yield RemoteCloud(queues, loop, clock)
        finally:
            running.cancel()
            loop.close()
