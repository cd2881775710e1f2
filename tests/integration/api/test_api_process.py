"""The api as `open_api` builds it and as `python -m ostinato_api` runs it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process

import aiohttp
import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from ostinato.auth.administrators import administrators_of
from ostinato.auth.permissions import METHOD_PERMISSIONS
from ostinato.config import AuthMode, AuthSettings, load_api_settings
from ostinato.pb.scheduler.v1 import projects_pb2
from ostinato_api.main import open_api
from tests.integration.api.served_api import Client, refused

ADDRESSES = {"OSTINATO_API_GRPC_ADDRESS": "127.0.0.1:0", "OSTINATO_API_HTTP_ADDRESS": "127.0.0.1:0"}
SERVICES = {method.split("/")[1] for method in METHOD_PERMISSIONS if ".scheduler." in method}
CONFIG = "project: shop\njobs: [{id: a, noop: {}}]"


def environment(database_url: str, **settings: str) -> dict[str, str]:
    return {"OSTINATO_DATABASE_URL": database_url, "OSTINATO_SECRET": "ab" * 32, **ADDRESSES, **settings}


async def fetch(url: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return response.status, await response.text()


async def test_it_serves_every_service_with_health_and_reflection(database_url: str) -> None:
    async def asking():
        yield reflection_pb2.ServerReflectionRequest(list_services="")

    async with (
        open_api(load_api_settings(environment(database_url))) as api,
        grpc.aio.insecure_channel(api.grpc_address) as channel,
    ):
        assert list((await Client(channel).apply(CONFIG)).added) == ["a"]
        for name in SERVICES | {""}:
            answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=name))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        (listed,) = [each async for each in stub.ServerReflectionInfo(asking())]
        assert {each.name for each in listed.list_services_response.service} >= SERVICES


async def test_it_tells_over_http_how_it_is(database_url: str) -> None:
    async with (
        open_api(load_api_settings(environment(database_url))) as api,
        grpc.aio.insecure_channel(api.grpc_address) as channel,
    ):
        await refused(Client(channel).apply("project: ["))
        assert (await fetch(f"http://{api.http_address}/healthz"))[0] == 200
        assert (await fetch(f"http://{api.http_address}/readyz"))[0] == 200
        _, metrics = await fetch(f"http://{api.http_address}/metrics")
    method = "/ostinato.scheduler.v1.ProjectService/ApplyProjectConfig"
    assert f'ostinato_rpc_calls_total{{code="INVALID_ARGUMENT",method="{method}"}} 1.0' in metrics


async def test_administrators_are_those_of_the_settings(database_url: str) -> None:
    settings = load_api_settings(environment(database_url, OSTINATO_ADMINS="user:ana, user:bob"))
    async with open_api(settings) as api, grpc.aio.insecure_channel(api.grpc_address) as channel:
        assert (await refused(Client(channel, "user:cleo").apply(CONFIG))).code == "NOT_FOUND"
        assert list((await Client(channel, "user:bob").apply(CONFIG)).added) == ["a"]


def test_in_dev_mode_the_default_user_administers_beside_those_that_are_named() -> None:
    assert administrators_of(AuthSettings(AuthMode.DEV, (), b"")) == {"user:dev@localhost"}
    assert administrators_of(AuthSettings(AuthMode.DEV, ("user:a",), b"")) == {"user:dev@localhost", "user:a"}


async def test_page_tokens_outlive_the_process_that_made_them(database_url: str) -> None:
    settings = load_api_settings(environment(database_url))
    async with open_api(settings) as api, grpc.aio.insecure_channel(api.grpc_address) as channel:
        for name in ("a", "b"):
            await Client(channel).apply(f"project: {name}")
        first = await Client(channel).send("ListProjects", projects_pb2.ListProjectsRequest(page_size=1))
    async with open_api(settings) as api, grpc.aio.insecure_channel(api.grpc_address) as channel:
        request = projects_pb2.ListProjectsRequest(page_token=first.next_page_token)
        assert [each.name for each in (await Client(channel).send("ListProjects", request)).projects] == ["projects/b"]


async def start(*arguments: str, env: dict[str, str]) -> Process:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OSTINATO_")}
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ostinato_api", *arguments, env=kept | env, stdout=PIPE, stderr=PIPE
    )


async def logged(process: Process, event: str) -> None:
    """Reads log lines until one says `event`."""
    assert process.stderr
    async with asyncio.timeout(30):
        while line := await process.stderr.readline():
            if json.loads(line)["event"] == event:
                return
    raise AssertionError(f"the process never logged {event!r}")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_the_process_serves_until_a_signal_and_ends_with_0(database_url: str, number: signal.Signals) -> None:
    process = await start(env=environment(database_url))
    await logged(process, "serving")
    process.send_signal(number)
    await logged(process, "stopped")
    assert await process.wait() == 0


async def test_the_process_waits_for_a_database_that_is_away() -> None:
    process = await start(env=environment("postgresql://postgres@127.0.0.1:1/postgres"))
    assert process.stderr
    assert b"waiting: database" in await process.stderr.readline()
    process.terminate()
    await logged(process, "stopped")
    assert await process.wait() == 0


async def test_invalid_settings_end_the_process_with_2(database_url: str) -> None:
    env = environment(database_url, OSTINATO_SECRET="short", OSTINATO_API_GRPC_ADDRESS="0.0.0.0:7070")
    process = await start(env=env)
    _, errors = await process.communicate()
    assert process.returncode == 2
    assert b"OSTINATO_SECRET" in errors
    assert b"OSTINATO_API_GRPC_ADDRESS" in errors


async def test_check_config_prints_the_settings_without_secrets(database_url: str) -> None:
    process = await start("--check-config", env=environment(database_url))
    printed, _ = await process.communicate()
    assert process.returncode == 0
    assert b"grpc_address = 127.0.0.1:0" in printed
    assert b"abab" not in printed
