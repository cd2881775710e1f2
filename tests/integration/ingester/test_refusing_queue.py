"""Reports whose task Cloud Tasks refuses: that is not the reporter's fault, who is told to repeat them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import grpc
import pytest

from ostinato.localcloud.faults import Fault, FaultKind
from ostinato.pb.ingest.v1.notifications_pb2 import NotifyRequest
from ostinato_ingester.main import Ingester, open_ingester
from tests.integration.ingester.running_work import ingester_settings, issue_token, notify_grpc, notify_http
from tests.integration.taskqueue.contract.local_cloud import LocalCloud, open_local_cloud

DONE = {"status": "SUCCEEDED"}


@pytest.fixture
async def cloud() -> AsyncIterator[LocalCloud]:
    async with open_local_cloud() as opened:
        yield opened


@pytest.fixture
async def remote_ingester(database_url: str, cloud: LocalCloud) -> AsyncIterator[Ingester]:
    async with open_ingester(replace(ingester_settings(database_url), cloud_tasks=cloud.settings)) as opened:
        yield opened


async def create_queue(cloud: LocalCloud) -> None:
    path = cloud.queue_path("notifications")
    async with cloud.client as client:
        await client.create_queue(parent=path.rpartition("/queues/")[0], queue={"name": path})
        await client.pause_queue(name=path)


async def test_before_the_queue_is_there_reports_are_to_be_repeated(
    remote_ingester: Ingester, cloud: LocalCloud
) -> None:
    answer = await notify_http(remote_ingester, DONE)
    assert (answer.status, answer.error["reason"]) == (503, "UNAVAILABLE")
    await create_queue(cloud)
    assert (await notify_http(remote_ingester, DONE)).status == 204
    assert len(cloud.task_names()) == 1


@pytest.mark.parametrize("code", ["PERMISSION_DENIED", "FAILED_PRECONDITION", "INVALID_ARGUMENT", "UNAVAILABLE"])
async def test_while_the_queue_refuses_reports_are_to_be_repeated_and_nobody_is_told_why(
    remote_ingester: Ingester, cloud: LocalCloud, code: str
) -> None:
    await create_queue(cloud)
    cloud.faults.add(Fault("CreateTask", FaultKind.REFUSED, code=code))
    answer = await notify_http(remote_ingester, DONE)
    assert (answer.status, answer.error["reason"]) == (503, "UNAVAILABLE")
    assert "Cloud Tasks" not in answer.text
    told = await notify_grpc(remote_ingester, NotifyRequest(token=issue_token(), status=NotifyRequest.SUCCEEDED))
    assert (told.code, told.asks_to_retry) == (grpc.StatusCode.UNAVAILABLE, True)
    assert "Cloud Tasks" not in told.message
    cloud.faults.clear()
    assert (await notify_http(remote_ingester, DONE)).status == 204
