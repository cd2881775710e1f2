"""Local clouds for an installation whose tasks wait there, and one address for all its engines, as pushes need it."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from aiohttp import ClientConnectorError, ClientError, ClientSession, ClientTimeout, DummyCookieJar, TCPConnector, web

from ostinato.cli.up.local_cloud import HTTP_ADDRESS, local_cloud_environ, local_cloud_spec
from ostinato.cli.up.readiness import ask_ready
from ostinato.config.cloud_tasks import TARGET_URL, TASKS_ADDRESS
from ostinato.storage.embedded.child_process import die_with_parent
from ostinato.storage.embedded.listening_port import free_port

_START_SECONDS = 30
# Reminders are fresh for a minute and sweeps begin every 15 s otherwise.
QUICK = {"OSTINATO_CLOUD_FRESH_FOR": "2", "OSTINATO_SWEEP_EVERY": "1"}
# What Cloud Tasks may do to anybody: nothing is lost by it, and what is done twice is recognised.
FAULTS = (
    {"method": "CreateTask", "kind": "REFUSED", "code": "UNAVAILABLE", "rate": 0.1},
    {"method": "CreateTask", "kind": "ANSWER_LOST", "code": "DEADLINE_EXCEEDED", "rate": 0.1},
    {"method": "dispatch", "kind": "ANSWER_LOST", "code": "UNAVAILABLE", "rate": 0.05},
    {"method": "dispatch", "kind": "DUPLICATED", "rate": 0.1},
)
_OF_ONE_CONNECTION = ("Connection", "Keep-Alive", "Transfer-Encoding", "Content-Length")


class Balancer:
    """Hands each request to one of `engines`, HTTP addresses of those that are to get any at that moment."""

    def __init__(self, session: ClientSession) -> None:
        self.engines: Callable[[], Sequence[str]] = list
        self._session = session
        self._random = Random(1)

    async def forward(self, request: web.Request) -> web.Response:
        """Tries another engine only if the first can't have got it."""
        body, headers = await request.read(), request.headers.copy()
        for name in _OF_ONE_CONNECTION:
            headers.popall(name, None)
        engines = [*self.engines()]
        for engine in self._random.sample(engines, len(engines)):
            url = f"http://{engine}{request.raw_path}"
            try:
                async with self._session.request(request.method, url, data=body, headers=headers) as answer:
                    return web.Response(status=answer.status, body=await answer.read())
            except ClientConnectorError:
                continue
            except ClientError:
                break
        return web.Response(status=502)


@dataclass(frozen=True, slots=True)
class Cloud:
    """`environ`: settings of services whose tasks wait there. Build it with `open_cloud`."""

    environ: Mapping[str, str]
    balancer: Balancer

    async def plan(self, *faults: Mapping[str, Any]) -> None:
        """What goes wrong there from now on: nothing without `faults`."""
        url = f"http://{self.environ[HTTP_ADDRESS]}/faults"
        async with ClientSession() as session, session.put(url, json={"faults": faults}) as answer:
            assert answer.status == 200, await answer.text()


@asynccontextmanager
async def open_cloud(folder: Path) -> AsyncIterator[Cloud]:
    """The clouds are a process, which is killed at the end of the block; the balancer is in this one."""
    addresses = {name: f"127.0.0.1:{free_port()}" for name in (TASKS_ADDRESS, HTTP_ADDRESS)}
    async with open_balancer() as (balancer, url):
        environ = {**local_cloud_environ({**addresses, TARGET_URL: url}), **QUICK}
        async with _open_clouds(environ, folder / "local-cloud.log"):
            yield Cloud(environ, balancer)


@asynccontextmanager
async def open_balancer() -> AsyncIterator[tuple[Balancer, str]]:
    """With its URL, of scheme and host alone."""
    port = free_port()
    async with ClientSession(
        connector=TCPConnector(limit=0),
        timeout=ClientTimeout(total=None),
        cookie_jar=DummyCookieJar(),
        auto_decompress=False,
        skip_auto_headers=("Content-Type",),
    ) as session:
        balancer = Balancer(session)
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", balancer.forward)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        try:
            yield balancer, f"http://127.0.0.1:{port}"
        finally:
            await runner.cleanup()


@asynccontextmanager
async def _open_clouds(environ: Mapping[str, str], log_path: Path) -> AsyncIterator[None]:
    spec = local_cloud_spec(environ, [])
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OSTINATO_")}
    with log_path.open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *spec.arguments,
            env={**kept, "PYTHONUNBUFFERED": "1"},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,  # where it tells its addresses
            stderr=log,
            preexec_fn=die_with_parent(signal.SIGKILL),
        )
    try:
        async with asyncio.timeout(_START_SECONDS):
            while await ask_ready(spec.http_address):
                await asyncio.sleep(0.05)
        yield
    finally:
        process.kill()
        await process.wait()
