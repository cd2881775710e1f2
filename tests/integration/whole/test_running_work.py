"""Work that reports by itself, as its api, ingester and engines see it together."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from ostinato.client import ClientError, OstinatoClient, open_client
from ostinato.config import load_api_settings
from ostinato.pb.scheduler.v1.invocations_pb2 import Invocation
from ostinato_api.main import open_api
from tests.integration.whole.services import Services, called_service, environment, open_services

MULTISTAGE = "{method: POST, url: %s, multistage: true}"
SIDE_BY_SIDE = "triggering_policy: {max_concurrent_invocations: 8, max_batch_size: 1}"


@pytest.fixture(params=[False, True], ids=["embedded", "cloud"])
def cloud(request: pytest.FixtureRequest) -> bool:
    """Where the tasks of all services wait."""
    if request.param:
        request.node.add_marker(pytest.mark.tasks_elsewhere)
    return bool(request.param)


@dataclass
class Work:
    """Answers 202 and keeps what it was given. `begin` runs before the answer."""

    calls: asyncio.Queue[dict[str, str]] = field(default_factory=asyncio.Queue)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, request: web.Request) -> web.Response:
        self.calls.put_nowait(dict(request.headers))
        await self.go_on.wait()
        return web.Response(status=202)


async def report(headers: dict[str, str], status: str, *lines: str, **fields: Any) -> int:
    """Over HTTP, with the token and to the address that came with the call."""
    body = {"status": status, "log_lines": list(lines), **fields}
    authorization = {"Authorization": f"Bearer {headers['Ostinato-Notify-Token']}"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(headers["Ostinato-Notify-Url"], json=body, headers=authorization) as answer,
    ):
        return answer.status


async def append(client: OstinatoClient, headers: dict[str, str], *lines: str, message_id: str = "") -> None:
    name, token = headers["Ostinato-Invocation"], headers["Ostinato-Notify-Token"]
    await client.append_logs(name, lines, token=token, message_id=message_id)


async def watched(client: OstinatoClient, name: str) -> tuple[list[int], list[str]]:
    """The statuses and the lines that a watcher is told, in order, to the end."""
    statuses: list[int] = []
    lines: list[str] = []
    async for response in client.watch_invocation(name):
        if response.HasField("invocation"):
            statuses.append(response.invocation.status)
        lines += [line.text for line in response.lines]
    return statuses, lines


async def test_whatever_work_and_network_do_each_report_counts_once_and_a_watcher_sees_it(
    database_url: str, cloud: bool
) -> None:
    work = Work()
    async with called_service(work.answer) as url, open_services(database_url, engines=2, cloud=cloud) as services:
        await services.apply(MULTISTAGE % url)
        await services.emit("t1")
        async with asyncio.timeout(20):
            call = await work.calls.get()
            watching = asyncio.ensure_future(watched(services.client, call["Ostinato-Invocation"]))
            # Before the answer to the call is stored.
            assert await report(call, "RUNNING", "early", message_id="m1") == 204
            await append(services.client, call, "early, too", message_id="m2")
            work.go_on.set()
            await until_line(services.client, call, "early")
            await until_line(services.client, call, "early, too")
            # Repeated, and in order.
            assert await report(call, "RUNNING", "early", message_id="m1") == 204
            await append(services.client, call, "early, too", message_id="m2")
            await append(services.client, call, "one")
            await append(services.client, call, "two")
            # The end, twice, and what comes too late.
            assert await report(call, "SUCCEEDED", "the end", message_id="m3", result={"rows": 3}) == 204
            statuses, lines = await watching
            assert await report(call, "FAILED", "no, failed") == 204
            assert await report(call, "RUNNING", "late", message_id="m4") == 204
            await append(services.client, call, "later still")
        run = await services.client.get_invocation(call["Ostinato-Invocation"])
    assert statuses[-1] == Invocation.SUCCEEDED
    assert (run.status, run.result["rows"]) == (Invocation.SUCCEEDED, 3)
    assert run.HasField("last_heartbeat_time")
    for line in ("early", "early, too", "one", "two", "the end"):
        assert lines.count(line) == 1, lines
    assert lines.index("one") < lines.index("two") < lines.index("the end")
    assert lines[-1].startswith("Ended with status SUCCEEDED")


async def until_line(client: OstinatoClient, call: dict[str, str], text: str) -> None:
    while text not in [line.text async for line in client.list_logs(call["Ostinato-Invocation"])]:
        await asyncio.sleep(0.02)


async def test_a_token_reports_on_its_own_run_only(database_url: str, cloud: bool) -> None:
    work = Work()
    work.go_on.set()
    async with called_service(work.answer) as url, open_services(database_url, cloud=cloud) as services:
        await services.apply(MULTISTAGE % url, SIDE_BY_SIDE)
        await services.emit("t1", "t2")
        async with asyncio.timeout(20):
            first, second = await work.calls.get(), await work.calls.get()
        stolen = second | {"Ostinato-Notify-Token": first["Ostinato-Notify-Token"]}
        with pytest.raises(ClientError) as caught:
            await append(services.client, stolen, "forged")
        assert caught.value.reason == "UNAUTHENTICATED"
        assert await report(stolen, "SUCCEEDED") == 204  # it ends the run that the token is for
        async with asyncio.timeout(20):
            await watched(services.client, first["Ostinato-Invocation"])
        assert not (await services.client.get_invocation(second["Ostinato-Invocation"])).final


class Hanging:
    """Never answers; knows how many of its callers have left."""

    def __init__(self) -> None:
        self.called = 0
        self.left = 0

    async def answer(self, _: web.Request) -> web.Response:
        self.called += 1
        try:
            await asyncio.Event().wait()
        finally:
            self.left += 1
        raise AssertionError("unreachable")


async def test_an_abort_stops_the_call_at_whichever_engine_makes_it_within_five_seconds(
    database_url: str, cloud: bool
) -> None:
    work = Hanging()
    async with called_service(work.answer) as url, open_services(database_url, engines=2, cloud=cloud) as services:
        await services.apply(f"{{url: {url}}}", SIDE_BY_SIDE)
        await services.emit(*(f"t{number}" for number in range(8)))
        runs = await services.runs(8)
        async with asyncio.timeout(20):
            while work.called < 8:
                await asyncio.sleep(0.01)
        for run in runs:
            assert (await services.client.abort_invocation(run.name)).status == Invocation.ABORTED
        async with asyncio.timeout(5):
            while work.left < 8:
                await asyncio.sleep(0.01)
    assert work.called == 8


async def test_a_watch_goes_on_through_a_restart_of_the_api(database_url: str) -> None:
    work = Work()
    work.go_on.set()
    environ = environment(database_url)
    async with (
        called_service(work.answer) as url,
        open_client(environ["OSTINATO_API_GRPC_ADDRESS"]) as client,
        Services(client, environ).engine(),
    ):
        services = Services(client, environ)
        async with open_api(load_api_settings(environ)):
            await services.apply(MULTISTAGE % url)
            await services.emit("t1")
            async with asyncio.timeout(20):
                call = await work.calls.get()
            watching = asyncio.ensure_future(watched(client, call["Ostinato-Invocation"]))
            await append(client, call, "before")
        async with open_api(load_api_settings(environ)):
            await answered(client)
            await append(client, call, "after")
            await client.abort_invocation(call["Ostinato-Invocation"])
            async with asyncio.timeout(20):
                statuses, lines = await watching
    assert statuses[-1] == Invocation.ABORTED
    assert (lines.count("before"), lines.count("after")) == (1, 1)


@asynccontextmanager
async def api_process(environ: dict[str, str]) -> AsyncIterator[asyncio.subprocess.Process]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OSTINATO_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ostinato_api", env=kept | environ, stdout=DEVNULL, stderr=DEVNULL
    )
    try:
        async with open_client(environ["OSTINATO_API_GRPC_ADDRESS"]) as client:
            await answered(client)
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def answered(client: OstinatoClient) -> None:
    """Waits until the api is there, as `client` sees it."""
    async with asyncio.timeout(30):
        while True:
            try:
                await client.list_queues()
            except ClientError:
                await asyncio.sleep(0.05)
            else:
                return


async def test_the_command_line_follows_a_run_through_the_death_of_the_api(database_url: str) -> None:
    work = Work()
    work.go_on.set()
    environ = environment(database_url)
    address = environ["OSTINATO_API_GRPC_ADDRESS"]
    async with called_service(work.answer) as url, open_client(address) as client, Services(client, environ).engine():
        services = Services(client, environ)
        async with api_process(environ) as api:
            await services.apply(MULTISTAGE % url)
            await services.emit("t1")
            async with asyncio.timeout(20):
                call = await work.calls.get()
                await append(client, call, "before")
            run = call["Ostinato-Invocation"]
            command = ["-c", "from ostinato.cli.main import main; main()", "--address", address, "logs", "-f", run]
            follow = await asyncio.create_subprocess_exec(sys.executable, *command, stdout=PIPE, stderr=PIPE)
            assert follow.stdout
            async with asyncio.timeout(20):
                while not (await follow.stdout.readline()).endswith(b"  before\n"):
                    pass
            api.kill()
            await api.wait()
        async with api_process(environ):
            await answered(client)
            await append(client, call, "after")
            await client.abort_invocation(run)
            async with asyncio.timeout(20):
                out, err = await follow.communicate()
    assert (out.count(b"  after\n"), out.count(b"before"), err, follow.returncode) == (1, 0, b"", 0)
    assert out.splitlines()[-1].rpartition(b"  ")[2].startswith(b"Ended with status ABORTED")
