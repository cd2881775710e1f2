from __future__ import annotations

from datetime import timedelta

import grpc
import pytest
from google.protobuf.struct_pb2 import Struct
from grpc_health.v1 import health_pb2, health_pb2_grpc

from ostinato.pb.ingest.v1.notifications_pb2 import NotifyRequest
from ostinato.storage.database import Database
from ostinato_ingester.main import Ingester
from tests.integration.ingester.running_work import INVOCATION, JOB, issue_token, notify_grpc, stored_tasks


def notification(**fields: object) -> NotifyRequest:
    return NotifyRequest(**({"token": issue_token(), "status": NotifyRequest.SUCCEEDED} | fields))


async def test_an_accepted_notification_is_a_committed_task_without_its_token(
    ingester: Ingester, database: Database
) -> None:
    result = Struct()
    result.update({"rows": 3})
    request = notification(message_id="m-1", result=result, log_lines=["one"], error_message="")
    assert (await notify_grpc(ingester, request)).code is grpc.StatusCode.OK
    (task,) = await stored_tasks(database)
    request.ClearField("token")
    assert (task.invocation_id, task.job_id, task.notification) == (INVOCATION, JOB, request)


@pytest.mark.parametrize(
    "token",
    ["", "token", issue_token(secret=b"x" * 32), issue_token(age=timedelta(hours=49)), issue_token() + "="],
    ids=["empty", "a word", "signed by a stranger", "expired", "padded"],
)
async def test_a_bad_token_is_unauthenticated_whatever_else_is_wrong(
    ingester: Ingester, database: Database, token: str
) -> None:
    answer = await notify_grpc(ingester, NotifyRequest(token=token, message_id="x" * 1000))
    assert (answer.code, answer.message) == (
        grpc.StatusCode.UNAUTHENTICATED,
        "the notification token is not valid",
    )
    assert await stored_tasks(database) == []


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"status": NotifyRequest.STATUS_UNSPECIFIED}, ("status",)),
        ({"status": 77}, ("status",)),
        ({"message_id": "x" * 201, "error_message": "x" * 4097}, ("message_id", "error_message")),
        ({"log_lines": ["x"] * 1001}, ("log_lines",)),
        ({"log_lines": ["x" * 4097, "", "x" * 4097]}, ("log_lines[0]", "log_lines[2]")),
    ],
)
async def test_bad_input_is_invalid_argument_and_names_every_field(
    ingester: Ingester, database: Database, fields: dict[str, object], named: tuple[str, ...]
) -> None:
    answer = await notify_grpc(ingester, notification(**fields))
    assert (answer.code, answer.fields) == (grpc.StatusCode.INVALID_ARGUMENT, named)
    assert await stored_tasks(database) == []


async def test_the_health_of_the_service_is_told(ingester: Ingester) -> None:
    async with grpc.aio.insecure_channel(ingester.grpc_address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for service in ("", "ostinato.ingest.v1.NotificationService"):
            answer = await health.Check(health_pb2.HealthCheckRequest(service=service))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
