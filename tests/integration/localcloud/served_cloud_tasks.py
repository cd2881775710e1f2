"""A local Cloud Tasks with the official client, a target that counts what it is sent, and time that a test moves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import grpc
from aiohttp import web
from google.cloud import tasks_v2
from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksGrpcAsyncIOTransport

from ostinato.localcloud.cloud_tasks.local_cloud_tasks import LocalCloudTasks, open_local_cloud_tasks
from ostinato.localcloud.cloud_tasks.queue_directory import TombstoneSettings
from ostinato.localcloud.faults import FaultPlan
from ostinato.localcloud.tokens import TokenIssuer
from ostinato.rpc.server import open_grpc_server

LOCATION = "projects/p/locations/l"
QUEUE = f"{LOCATION}/queues/q"
START = datetime(2026, 5, 1, 12, 0, 0, 250_000, tzinfo=UTC)

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ManualClock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self._passed = 0.0
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def now(self) -> datetime:
        return START + timedelta(seconds=self._passed)

    def monotonic(self) -> float:
        return self._passed

    async def sleep(self, seconds: float) -> None:
        waking: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append((self._passed + seconds, waking))
        if seconds > 0:
            await waking

    def advance(self, seconds: float) -> None:
        self._passed += seconds
        for due, waking in self._sleepers:
            if due <= self._passed and not waking.done():
                waking.set_result(None)
        self._sleepers = [sleeper for sleeper in self._sleepers if not sleeper[1].done()]


@dataclass
class Seen:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Target:
    """Answers by `answer`; `arrived` is set with each request."""

    url: str = ""
    answer: Answer = field(default_factory=lambda: status(200))
    seen: list[Seen] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    close: Callable[[], Awaitable[None]] = field(kw_only=True)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(Seen(request.method, request.path_qs, dict(request.headers), await request.read()))
        self.arrived.set()
        return await self.answer(request)

    def header(self, name: str) -> list[str | None]:
        return [seen.headers.get(f"X-CloudTasks-{name}") for seen in self.seen]


@dataclass
class Cloud:
    client: tasks_v2.CloudTasksAsyncClient
    address: str
    local: LocalCloudTasks
    clock: ManualClock
    faults: FaultPlan
    tokens: TokenIssuer
    target: Target

    async def create_queue(self, name: str = QUEUE, **config: object) -> tasks_v2.Queue:
        return await self.client.create_queue(parent=LOCATION, queue=tasks_v2.Queue(name=name, **config))

    async def create(self, task_id: str = "", *, queue: str = QUEUE, **task: object) -> tasks_v2.Task:
        name = f"{queue}/tasks/{task_id}" if task_id else ""
        task.setdefault("http_request", self.http())
        return await self.client.create_task(parent=queue, task=tasks_v2.Task(name=name, **task))

    def http(self, path: str = "/work", **request: object) -> tasks_v2.HttpRequest:
        return tasks_v2.HttpRequest(url=f"{self.target.url}{path}", **request)

    def ids(self) -> list[str]:
        return [task.name.rpartition("/")[2] for task in self.local.snapshot()]

    async def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)
        await self.local.idle()


def status(code: int, **headers: str) -> Answer:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=code, headers=headers)

    return answer


def statuses(*codes: int) -> Answer:
    """One after the other, then 200."""
    left = list(codes)

    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=left.pop(0) if left else 200)

    return answer


@asynccontextmanager
async def open_cloud(tokens: TokenIssuer) -> AsyncIterator[Cloud]:
    clock, faults = ManualClock(), FaultPlan()
    async with AsyncExitStack() as stack:
        target = await stack.enter_async_context(open_target())
        local = await stack.enter_async_context(
            open_local_cloud_tasks(clock=clock, faults=faults, tokens=tokens, tombstones=TombstoneSettings())
        )
        server = await stack.enter_async_context(
            open_grpc_server("127.0.0.1:0", [local.service], interceptors=[], grace=timedelta(0))
        )
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(server.address))
        client = tasks_v2.CloudTasksAsyncClient(transport=CloudTasksGrpcAsyncIOTransport(channel=channel))
        yield Cloud(client, server.address, local, clock, faults, tokens, target)


@asynccontextmanager
async def open_target() -> AsyncIterator[Target]:
    app = web.Application()
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    target = Target(close=runner.cleanup)
    app.router.add_route("*", "/{tail:.*}", target.handle)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    target.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield target
    finally:
        await runner.cleanup()
