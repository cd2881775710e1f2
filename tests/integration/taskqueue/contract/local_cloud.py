"""Cloud Tasks on loopback with its token issuer, and a dispatcher whose tasks wait there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from ostinato.clock import SystemClock
from ostinato.config.cloud_tasks import CloudTasksSettings
from ostinato.localcloud.cloud_tasks.local_cloud_tasks import LocalCloudTasks, open_local_cloud_tasks
from ostinato.localcloud.cloud_tasks.queue_directory import TombstoneSettings
from ostinato.localcloud.faults import FaultPlan
from ostinato.rpc.oidc_verifier import open_oidc_verifier
from ostinato.rpc.server import open_grpc_server
from ostinato.storage.database import Database
from ostinato.storage.embedded.listening_port import free_port
from ostinato.taskqueue import Backend, Dispatcher, Handler, TaskClass, open_dispatcher
from ostinato.taskqueue.cloud_tasks.cloud_client import open_cloud_client
from ostinato.taskqueue.cloud_tasks.cloud_tasks_queue import CloudTasksQueue, open_cloud_tasks_queue
from ostinato.taskqueue.cloud_tasks.push_receiver import PushReceiver, open_push_receiver
from tests.integration.rpc.issuing import ServedIssuer, open_issuer

PUSHER = "push@shop.example"
CLOCK = SystemClock()


@dataclass(frozen=True, slots=True)
class LocalCloud:
    server: LocalCloudTasks
    faults: FaultPlan
    issuer: ServedIssuer
    settings: CloudTasksSettings
    port: int = field(default=0)

    @property
    def client(self) -> Any:
        """The official client; a context manager."""
        return open_cloud_client(self.settings)

    def queue_path(self, queue: str) -> str:
        return f"projects/{self.settings.project}/locations/{self.settings.location}/queues/{queue}"

    def task_names(self) -> list[str]:
        """The last parts of the names of all tasks that wait."""
        return [task.name.rpartition("/")[2] for task in self.server.snapshot()]


@asynccontextmanager
async def open_local_cloud(tombstones: TombstoneSettings | None = None) -> AsyncIterator[LocalCloud]:
    faults = FaultPlan()
    async with (
        open_issuer(CLOCK) as issuer,
        open_local_cloud_tasks(
            clock=CLOCK, faults=faults, tokens=issuer.tokens, tombstones=tombstones or TombstoneSettings()
        ) as server,
        open_grpc_server("127.0.0.1:0", [server.service], interceptors=[]) as grpc,
    ):
        port = free_port()
        assert port is not None
        settings = CloudTasksSettings(
            "shop", "here", f"http://127.0.0.1:{port}", PUSHER, server_address=grpc.address, namespace="test"
        )
        yield LocalCloud(server, faults, issuer, settings, port)


@asynccontextmanager
async def open_remote_dispatcher(
    cloud: LocalCloud, db: Database, classes: Sequence[TaskClass[Any]]
) -> AsyncIterator[tuple[Dispatcher, CloudTasksQueue]]:
    async with (
        open_cloud_tasks_queue(cloud.settings, db) as remote,
        open_dispatcher(db, classes=classes, backend=Backend.CLOUD_TASKS, remote=remote) as dispatcher,
    ):
        yield dispatcher, remote


@asynccontextmanager
async def receiving(
    cloud: LocalCloud, dispatcher: Dispatcher, *handlers: Handler, grace: float = 2
) -> AsyncIterator[PushReceiver]:
    """The other side of the pushes; drained, then away at the end of the block."""
    async with open_oidc_verifier(cloud.issuer.settings, cloud.settings.pushers, CLOCK) as verifier:
        app = web.Application()
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        receiver_block = open_push_receiver(dispatcher, handlers, verifier, drain_grace=grace)
        async with receiver_block as receiver:
            app.add_routes(receiver.routes())
            await runner.setup()
            try:
                await web.TCPSite(runner, "127.0.0.1", cloud.port).start()
                yield receiver
                await receiver.drain(grace)
            finally:
                await runner.cleanup()
