"""What running work does: reports on its invocation over HTTP or gRPC, with the token it was given."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from ostinato.auth.notification_token import NotificationTokens
from ostinato.config import IngesterSettings, load_ingester_settings
from ostinato.pb.ingest.v1.notifications_pb2 import NotifyRequest
from ostinato.pb.ingest.v1.notifications_pb2_grpc import NotificationServiceStub
from ostinato.pb.internal.v1.engine_tasks_pb2 import HandleNotificationTask
from ostinato.storage.database import Database
from ostinato_ingester.main import Ingester

SECRET = bytes(range(32))
INVOCATION, JOB = 9_063_279_517_011_443_680, 7


def ingester_settings(database_url: str) -> IngesterSettings:
    return load_ingester_settings(
        {
            "OSTINATO_DATABASE_URL": database_url,
            "OSTINATO_SECRET": SECRET.hex(),
            "OSTINATO_INGESTER_GRPC_ADDRESS": "127.0.0.1:0",
            "OSTINATO_INGESTER_HTTP_ADDRESS": "127.0.0.1:0",
        }
    )


def issue_token(*, secret: bytes = SECRET, age: timedelta = timedelta(0)) -> str:
    now = datetime.now(UTC) - age
    return NotificationTokens.configured([], secret).issue(INVOCATION, JOB, now=now, lifetime=timedelta(hours=48))


@dataclass(frozen=True)
class HttpAnswer:
    status: int
    headers: dict[str, str]
    text: str

    @property
    def error(self) -> dict[str, Any]:
        return json.loads(self.text)["error"]

    @property
    def fields(self) -> list[str]:
        return [field["field"] for field in self.error["fields"]]


async def ask_http(ingester: Ingester, path: str, *, method: str = "GET", **options: Any) -> HttpAnswer:
    url = f"http://{ingester.http_address}{path}"
    limit = aiohttp.ClientTimeout(total=15)
    async with aiohttp.ClientSession(timeout=limit) as session, session.request(method, url, **options) as answer:
        return HttpAnswer(answer.status, dict(answer.headers), await answer.text())


async def notify_http(
    ingester: Ingester, body: object, *, authorization: str | None = None, headers: dict[str, str] | None = None
) -> HttpAnswer:
    authorization = f"Bearer {issue_token()}" if authorization is None else authorization
    return await ask_http(
        ingester,
        "/notify",
        method="POST",
        data=io.BytesIO(body if isinstance(body, bytes) else json.dumps(body).encode()),
        headers={"Authorization": authorization} | (headers or {}),
    )


@dataclass(frozen=True)
class GrpcAnswer:
    """`code` is OK when the call was answered."""

    code: grpc.StatusCode
    message: str = ""
    fields: tuple[str, ...] = ()
    asks_to_retry: bool = False


async def notify_grpc(ingester: Ingester, request: NotifyRequest) -> GrpcAnswer:
    async with grpc.aio.insecure_channel(ingester.grpc_address) as channel:
        try:
            await NotificationServiceStub(channel).Notify(request, timeout=15)
        except grpc.aio.AioRpcError as error:
            return _refusal(error)
    return GrpcAnswer(grpc.StatusCode.OK)


def _refusal(error: grpc.aio.AioRpcError) -> GrpcAnswer:
    bad_request, retry = error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
    status = rpc_status.from_call(error)
    details = status.details if status else ()
    unpacked = [detail.Unpack(kind) for kind in (bad_request, retry) for detail in details]
    assert any(unpacked) or error.code() is grpc.StatusCode.UNAUTHENTICATED
    return GrpcAnswer(
        error.code(),
        error.details() or "",
        tuple(violation.field for violation in bad_request.field_violations),
        retry.HasField("retry_delay"),
    )


async def stored_tasks(database: Database) -> list[HandleNotificationTask]:
    rows = await database.fetch("select payload from tq_ready order by id")
    return [HandleNotificationTask.FromString(row["payload"]) for row in rows]
