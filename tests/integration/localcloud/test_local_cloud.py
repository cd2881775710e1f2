"""Both clouds behind two addresses, in this process and as one of their own."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime

import aiohttp
import grpc
import jwt
import pytest
from google.api_core.exceptions import PermissionDenied
from google.cloud import tasks_v2
from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksGrpcAsyncIOTransport

from ostinato.localcloud.arguments import parse_arguments
from ostinato.localcloud.local_cloud import LocalCloud, LocalCloudSettings, open_local_cloud
from ostinato.localcloud.main import open_and_tell
from ostinato.localcloud.tokens import ALGORITHM
from ostinato.rpc.service_process import run_service
from tests.integration.localcloud.served_cloud_tasks import open_target
from tests.integration.localcloud.served_pubsub import open_clients

LOCATION = "projects/p/locations/l"
FREE = LocalCloudSettings("127.0.0.1:0", "127.0.0.1:0")
FAULT = {"method": "CreateQueue", "kind": "REFUSED", "code": "PERMISSION_DENIED", "times": 1}


@pytest.fixture
async def cloud() -> AsyncIterator[LocalCloud]:
    async with open_local_cloud(FREE) as opened:
        yield opened


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@asynccontextmanager
async def cloud_tasks(address: str) -> AsyncIterator[tasks_v2.CloudTasksAsyncClient]:
    async with grpc.aio.insecure_channel(address) as channel:
        yield tasks_v2.CloudTasksAsyncClient(transport=CloudTasksGrpcAsyncIOTransport(channel=channel))


async def create_queue(address: str) -> tasks_v2.Queue:
    async with cloud_tasks(address) as client:
        return await client.create_queue(parent=LOCATION, queue=tasks_v2.Queue(name=f"{LOCATION}/queues/q"))


async def test_the_keys_of_the_tokens_are_found_as_googles_are(cloud: LocalCloud, http: aiohttp.ClientSession) -> None:
    async with http.get(f"{cloud.tokens.issuer}/.well-known/openid-configuration") as response:
        configuration = await response.json()
    assert configuration["issuer"] == f"http://{cloud.http_address}"
    async with http.get(configuration["jwks_uri"]) as response:
        keys = jwt.PyJWKSet.from_dict(await response.json())
    token = cloud.tokens.issue("a@p.example", "https://x.example", now=datetime.now(UTC))
    key = keys[jwt.get_unverified_header(token)["kid"]]
    assert jwt.decode(token, key, algorithms=[ALGORITHM], audience="https://x.example")["email"] == "a@p.example"


async def test_pubsub_is_served_beside_cloud_tasks(cloud: LocalCloud) -> None:
    await create_queue(cloud.grpc_address)
    async with open_clients(cloud.grpc_address) as pubsub:
        await pubsub.subscribe()
        await pubsub.publish(b"x")
        (received,) = await pubsub.pull()
        assert received.message.data == b"x"


async def test_pushes_to_an_address_that_stands_for_several_reach_whoever_is_there() -> None:
    front = "127.0.0.1:1"
    http = tasks_v2.HttpRequest(url=f"http://{front}/work", oidc_token={"service_account_email": "a@p.example"})

    async def push(count: int) -> None:
        async with cloud_tasks(cloud.grpc_address) as client:
            for _ in range(count):
                await client.create_task(parent=f"{LOCATION}/queues/q", task=tasks_v2.Task(http_request=http))
        await cloud.tasks.idle()

    async with open_target() as first:
        async with open_target() as second:
            members = tuple(target.url.removeprefix("http://") for target in (first, second))
            settings = replace(FREE, balanced={front: members})
            async with open_local_cloud(settings) as cloud:
                await create_queue(cloud.grpc_address)
                await push(4)
                assert (len(first.seen), len(second.seen)) == (2, 2)
                await second.close()
                await push(2)
        assert len(first.seen) == 4
    assert {seen.headers["Host"] for seen in (*first.seen, *second.seen)} == {front}
    token = jwt.decode(second.seen[0].headers["Authorization"][7:], options={"verify_signature": False})
    assert token["aud"] == f"http://{front}/work"


async def test_faults_are_planned_shown_and_cleared_over_http(cloud: LocalCloud, http: aiohttp.ClientSession) -> None:
    url = f"http://{cloud.http_address}/faults"
    async with http.post(url, json=FAULT) as response:
        assert response.status == 200
    with pytest.raises(PermissionDenied):
        await create_queue(cloud.grpc_address)
    async with http.get(url) as response:
        (shown,) = (await response.json())["faults"]
    assert shown == FAULT | {"delay_seconds": 0, "rate": 1, "skip": 0, "seen": 1, "hits": 1}
    async with http.put(url, json={"seed": 7, "faults": [FAULT, FAULT]}) as response:
        assert len((await response.json())["faults"]) == 2
    async with http.delete(url) as response:
        assert await response.json() == {"faults": []}
    await create_queue(cloud.grpc_address)


@pytest.mark.parametrize(
    ("method", "body", "field"),
    [
        ("POST", b"{", "body"),
        ("POST", b"\xff", "body"),
        ("POST", b'{"method": "*", "kind": "slow"}', "faults[0].kind"),
        ("PUT", b"[]", "body"),
        ("PUT", b'{"faults": [], "seed": "x"}', "seed"),
        ("PUT", b'{"faults": 7}', "faults[0]"),
    ],
)
async def test_a_wrong_plan_is_refused_with_its_field_and_changes_nothing(
    cloud: LocalCloud, http: aiohttp.ClientSession, method: str, body: bytes, field: str
) -> None:
    url = f"http://{cloud.http_address}/faults"
    await (await http.post(url, json=FAULT)).read()
    async with http.request(method, url, data=body) as response:
        assert response.status == 400
        assert field in [entry["field"] for entry in (await response.json())["error"]["fields"]]
    assert [planned.fault.method for planned in cloud.faults.planned()] == ["CreateQueue"]


async def test_an_address_in_use_is_an_error(cloud: LocalCloud) -> None:
    for settings in (
        LocalCloudSettings(cloud.grpc_address, "127.0.0.1:0"),
        LocalCloudSettings("127.0.0.1:0", cloud.http_address),
    ):
        with pytest.raises((OSError, ExceptionGroup)):
            async with open_local_cloud(settings):
                pass


async def test_as_a_process_it_tells_its_addresses_serves_and_ends_cleanly(http: aiohttp.ClientSession) -> None:
    command = [sys.executable, "-m", "ostinato.localcloud", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0"]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        assert process.stdout is not None
        told = json.loads(await process.stdout.readline())
        async with http.get(f"http://{told['http']}/healthz") as response:
            assert response.status == 200
        async with http.get(told["jwks_url"]) as response:
            assert len((await response.json())["keys"]) == 1
        assert (await create_queue(told["grpc"])).name == f"{LOCATION}/queues/q"
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
        assert await process.stdout.read() == b""
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def test_what_cannot_listen_says_so_and_exits_with_one(caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = LocalCloudSettings("127.0.0.1:0", f"127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(SystemExit) as end:
            run_service(lambda: open_and_tell(settings))
    assert end.value.code == 1
    assert "address already in use" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--grpc", "9022"], "argument --grpc: must be HOST:PORT"),
        (["--grpc", "0.0.0.0:9022"], "argument --grpc: must be an address of loopback"),
        (["--http", "shop.example:80"], "argument --http: must be an address of loopback"),
        (["--http", "127.0.0.1:99999"], "argument --http: must be HOST:PORT with a port from 0 to 65535"),
        (["--task-name-window", "-1"], "argument --task-name-window: must be whole seconds"),
        (["--queue-name-window", "1h"], "argument --queue-name-window: must be whole seconds"),
        (["--balance", "127.0.0.1:1"], "argument --balance: '' must be HOST:PORT"),
        (["--balance", "a=127.0.0.1:1"], "argument --balance: 'a' must be HOST:PORT"),
        (["--seed", "x"], "argument --seed: invalid int value"),
        (["--colour"], "unrecognized arguments: --colour"),
        (["--gr", "127.0.0.1:1"], "unrecognized arguments: --gr"),
    ],
)
def test_a_wrong_argument_is_explained_and_exits_with_two(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        parse_arguments(arguments)
    assert end.value.code == 2
    assert message in capsys.readouterr().err


def test_without_arguments_the_usual_addresses_are_served() -> None:
    assert parse_arguments([]) == LocalCloudSettings("127.0.0.1:9022", "127.0.0.1:9023")
