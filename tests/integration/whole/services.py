"""The three services on one database, in this process, and work that they call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

from chaos.cloud import QUICK, open_balancer
from ostinato.cli.up.local_cloud import HTTP_ADDRESS, local_cloud_environ
from ostinato.client import OstinatoClient, open_client
from ostinato.config import load_api_settings, load_engine_settings, load_ingester_settings
from ostinato.config.cloud_tasks import TARGET_URL, TASKS_ADDRESS
from ostinato.localcloud.local_cloud import LocalCloudSettings, open_local_cloud
from ostinato.pb.scheduler.v1.invocations_pb2 import Invocation
from ostinato.pb.scheduler.v1.projects_pb2 import ApplyProjectConfigRequest
from ostinato.pb.scheduler.v1.triggers_pb2 import EmitTriggersRequest
from ostinato.storage.embedded.listening_port import free_port
from ostinato_api.main import open_api
from ostinato_engine.main import open_engine
from ostinato_ingester.main import open_ingester

JOB = "projects/shop/jobs/work"
Handler = Callable[[web.Request], Awaitable[web.Response]]


@dataclass(frozen=True)
class Services:
    """`environ` starts another one on the same database. `engines`: where each that runs is asked over HTTP."""

    client: OstinatoClient
    environ: dict[str, str]
    engines: list[str] = field(default_factory=list)

    async def apply(self, target: str, *more: str) -> None:
        """A project with one job, whose http stanza is `target`; `more` are further lines of its stanza."""
        stanza = "\n".join(f"    {line}" for line in more)
        config = f"project: shop\njobs:\n  - id: work\n    http: {target}\n{stanza}\n"
        await self.client.apply_project_config(ApplyProjectConfigRequest(config=config))

    async def emit(self, *ids: str) -> None:
        batches = [EmitTriggersRequest.Batch(trigger={"id": each}, jobs=[JOB]) for each in ids]
        await self.client.emit_triggers(EmitTriggersRequest(batches=batches))

    async def runs(self, count: int) -> Sequence[Invocation]:
        """Newest first, once there are that many."""
        async with asyncio.timeout(20):
            while True:
                found = [run async for run in self.client.list_invocations(JOB)]
                if len(found) >= count:
                    return found
                await asyncio.sleep(0.02)

    @asynccontextmanager
    async def engine(self) -> AsyncIterator[None]:
        async with open_engine(load_engine_settings(self.environ)) as engine:
            self.engines.append(engine.http_address)
            yield


def environment(database_url: str) -> dict[str, str]:
    api, ingester = (f"127.0.0.1:{free_port()}" for _ in range(2))
    return {
        "OSTINATO_DATABASE_URL": database_url,
        "OSTINATO_SECRET": "ab" * 32,
        "OSTINATO_API_GRPC_ADDRESS": api,
        "OSTINATO_API_HTTP_ADDRESS": "127.0.0.1:0",
        "OSTINATO_ENGINE_GRPC_ADDRESS": "127.0.0.1:0",
        "OSTINATO_ENGINE_HTTP_ADDRESS": "127.0.0.1:0",
        "OSTINATO_ENGINE_SHUTDOWN_GRACE": "1",
        "OSTINATO_ENGINE_NOTIFY_URL": f"http://{ingester}/notify",
        "OSTINATO_INGESTER_GRPC_ADDRESS": "127.0.0.1:0",
        "OSTINATO_INGESTER_HTTP_ADDRESS": ingester,
    }


@asynccontextmanager
async def _open_cloud(engines: list[str]) -> AsyncIterator[dict[str, str]]:
    """Settings of services whose tasks wait in local clouds of this process, and are pushed to any of `engines`."""
    addresses = LocalCloudSettings("127.0.0.1:0", "127.0.0.1:0")
    async with open_balancer() as (balancer, url), open_local_cloud(addresses) as cloud:
        balancer.engines = lambda: engines
        places = {TASKS_ADDRESS: cloud.grpc_address, HTTP_ADDRESS: cloud.http_address, TARGET_URL: url}
        yield {**local_cloud_environ(places), **QUICK}


@asynccontextmanager
async def open_services(
    database_url: str, *, engines: int = 1, cloud: bool = False, environ: Mapping[str, str] | None = None
) -> AsyncIterator[Services]:
    """`cloud`: their tasks wait in local clouds. `environ`: settings besides the usual ones."""
    environ = {**environment(database_url), **(environ or {})}
    addresses: list[str] = []
    async with AsyncExitStack() as stack:
        if cloud:
            environ |= await stack.enter_async_context(_open_cloud(addresses))
        await stack.enter_async_context(open_ingester(load_ingester_settings(environ)))
        await stack.enter_async_context(open_api(load_api_settings(environ)))
        client = await stack.enter_async_context(open_client(environ["OSTINATO_API_GRPC_ADDRESS"]))
        services = Services(client, environ, addresses)
        for _ in range(engines):
            await stack.enter_async_context(services.engine())
        yield services


@asynccontextmanager
async def called_service(handler: Handler) -> AsyncIterator[str]:
    """A service that answers every call with `handler`; its URL."""
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()
