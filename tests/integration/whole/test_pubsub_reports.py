"""Work that reports by Pub/Sub, from its call to the end of its run, wherever tasks wait."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

import pytest

from ostinato.cli.up.local_cloud import HTTP_ADDRESS, local_cloud_environ
from ostinato.client import OstinatoClient
from ostinato.config.cloud_tasks import TASKS_ADDRESS
from ostinato.localcloud.faults import Fault, FaultKind
from ostinato.localcloud.local_cloud import LocalCloudSettings, open_local_cloud
from ostinato.pb.scheduler.v1.invocations_pb2 import Invocation
from ostinato.storage.embedded.listening_port import free_port
from ostinato_ingester.pubsub_clients import open_pubsub_clients
from tests.integration.ingester.local_pubsub import PROJECT, WORKER, JumpingClock, LocalPubSub
from tests.integration.whole.services import called_service, open_services
from tests.integration.whole.test_running_work import MULTISTAGE, Work, until_line, watched

IN_CLOUD_TASKS = pytest.param(
    "cloud_tasks", marks=pytest.mark.leaves_damage("tasks wait in Cloud Tasks, where the invariants do not look")
)


@dataclass(frozen=True)
class Clouds:
    pubsub: LocalPubSub
    environ: Mapping[str, str]  # for the services


@pytest.fixture(params=["embedded", IN_CLOUD_TASKS])
async def clouds(request: pytest.FixtureRequest) -> AsyncIterator[Clouds]:
    clock = JumpingClock()
    async with (
        open_local_cloud(LocalCloudSettings("127.0.0.1:0", "127.0.0.1:0"), clock=clock) as cloud,
        open_pubsub_clients(cloud.grpc_address) as clients,
    ):
        environ = {
            "OSTINATO_INGESTER_PUBSUB_PROJECT": PROJECT,
            "OSTINATO_INGESTER_PUBSUB_PUBLISHERS": f"http={WORKER}",
            "OSTINATO_INGESTER_PUBSUB_ADDRESS": cloud.grpc_address,
        }
        if request.param == "cloud_tasks":
            places = {TASKS_ADDRESS: cloud.grpc_address, HTTP_ADDRESS: cloud.http_address}
            engine = {"OSTINATO_ENGINE_HTTP_ADDRESS": f"127.0.0.1:{free_port()}"}
            environ = local_cloud_environ({**environ, **places, **engine})
        yield Clouds(LocalPubSub(cloud.grpc_address, clock, cloud.faults, clients), environ)


async def test_a_run_is_reported_on_and_ended_by_messages_that_come_more_than_once(
    database_url: str, clouds: Clouds
) -> None:
    pubsub, work = clouds.pubsub, Work()
    work.go_on.set()
    pubsub.faults.add(Fault("deliver", FaultKind.DUPLICATED, times=3))
    async with (
        called_service(work.answer) as url,
        open_services(database_url, environ=clouds.environ) as services,
        asyncio.timeout(30),
    ):
        await pubsub.until_prepared()
        await services.apply(MULTISTAGE % url)
        await services.emit("t1")
        call = await work.calls.get()
        watching = asyncio.ensure_future(watched(services.client, call["Ostinato-Invocation"]))
        token = call["Ostinato-Notify-Token"]
        await pubsub.publish(report("RUNNING", log_lines=["half way"]), token=token)
        unreadable = await pubsub.publish(b"no JSON", token=token)
        await until_line(services.client, call, "half way")
        await pubsub.publish(report("SUCCEEDED", log_lines=["the end"], result={"rows": 3}), token=token)
        statuses, lines = await watching
        run = await services.client.get_invocation(call["Ostinato-Invocation"])
        dead = await refused(services.client)
    assert (run.status, run.result["rows"], statuses[-1]) == (Invocation.SUCCEEDED, 3, Invocation.SUCCEEDED)
    assert (lines.count("half way"), lines.count("the end")) == (1, 1)
    assert dead == {unreadable}
    assert await pubsub.left() == []


async def refused(client: OstinatoClient) -> set[str]:
    """Ids of messages that could not be taken, once there are any."""
    while True:
        letters = [json.loads(letter.payload_json) async for letter in client.list_dead_letters()]
        if letters:
            return {letter["refused"]["messageId"] for letter in letters}
        await asyncio.sleep(0.02)


def report(status: str, **fields: object) -> bytes:
    return json.dumps({"status": status, **fields}).encode()
