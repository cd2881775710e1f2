"""Cloud Tasks as one object: its gRPC service, and for tests a look at its tasks and a wait without sleeping."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from google.cloud import tasks_v2

from ostinato.clock import Clock
from ostinato.localcloud.cloud_tasks.cloud_tasks_servicer import cloud_tasks_service
from ostinato.localcloud.cloud_tasks.dispatch_loop import DispatchLoop
from ostinato.localcloud.cloud_tasks.http_push import open_http_pusher
from ostinato.localcloud.cloud_tasks.push_authorization import PushAuthorization
from ostinato.localcloud.cloud_tasks.queue_directory import QueueDirectory, TombstoneSettings
from ostinato.localcloud.cloud_tasks.queue_methods import QueueMethods
from ostinato.localcloud.cloud_tasks.stored_task import show_task
from ostinato.localcloud.cloud_tasks.task_methods import TaskMethods
from ostinato.localcloud.faults import FaultPlan
from ostinato.localcloud.load_balancer import LoadBalancer
from ostinato.localcloud.reused_tokens import ReusedTokens
from ostinato.localcloud.tokens import TokenIssuer
from ostinato.rpc.server import GrpcService


class LocalCloudTasks:
    """Build it with `open_local_cloud_tasks`. Serve its `service` with `open_grpc_server`."""

    def __init__(self, queues: QueueDirectory, loop: DispatchLoop, service: GrpcService) -> None:
        self.service = service
        self._queues = queues
        self._loop = loop

    def snapshot(self) -> list[tasks_v2.Task]:
        """Every task of every queue, in full, as plain protobuf messages; those of one queue oldest first."""
        return [show_task(task, tasks_v2.Task.View.FULL) for queue in self._queues for task in queue.tasks()]

    async def idle(self) -> None:
        """Returns when no push is under way and none may begin before the clock moves or somebody calls."""
        await self._loop.idle()


@asynccontextmanager
async def open_local_cloud_tasks(
    *,
    clock: Clock,
    faults: FaultPlan,
    tokens: TokenIssuer,
    tombstones: TombstoneSettings,
    balancer: LoadBalancer | None = None,
) -> AsyncIterator[LocalCloudTasks]:
    """Dispatches during the block; at its end pushes under way are cut off. `balancer`: before some of the targets."""
    queues = QueueDirectory(clock, tombstones)
    async with open_http_pusher(clock, balancer) as pusher, asyncio.TaskGroup() as group:
        authorization = PushAuthorization(ReusedTokens(tokens, clock))
        loop = DispatchLoop(queues, group, clock=clock, pusher=pusher, authorization=authorization, faults=faults)
        service = cloud_tasks_service(
            QueueMethods(queues, loop, clock), TaskMethods(queues, loop, clock), faults=faults, clock=clock
        )
        running = group.create_task(loop.run())
        try:
            yield LocalCloudTasks(queues, loop, service)
        finally:
            running.cancel()
            loop.close()
