"""The api on loopback in this process, and clients that say who they are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from grpc_status.rpc_status import from_call
from prometheus_client import CollectorRegistry

from ostinato.auth.notification_token import NotificationTokens
from ostinato.auth.page_token import PageTokens
from ostinato.clock import SystemClock
from ostinato.jobflow.rejected_reports import RejectedReports
from ostinato.jobflow.task_queue import TaskQueue
from ostinato.pb.scheduler.v1 import (
    admin_pb2_grpc,
    invocations_pb2,
    invocations_pb2_grpc,
    jobs_pb2_grpc,
    projects_pb2,
    projects_pb2_grpc,
    triggers_pb2,
    triggers_pb2_grpc,
)
from ostinato.rpc.call_interceptor import CallInterceptor
from ostinato.rpc.call_log import CallMetrics
from ostinato.rpc.server import open_grpc_server
from ostinato.storage.database import Database
from ostinato.taskqueue import Dispatcher
from ostinato_api.api_resources import ApiResources
from ostinato_api.append_logs import AppendLogs
from ostinato_api.main import grpc_services
from ostinato_api.watch_loop import WatchLoop, WatchMetrics

ADMIN = "user:dev@localhost"
ANA = "user:ana@shop.example"
TOKENS = NotificationTokens([b"k" * 32])


@dataclass(slots=True)
class Refusal:
    code: str
    message: str
    details: dict[str, Any]

    @property
    def fields(self) -> list[str]:
        return [violation.field for violation in self.details["BadRequest"].field_violations]

    @property
    def rules(self) -> dict[str, str]:
        return {each.field: each.description for each in self.details["BadRequest"].field_violations}

    @property
    def reason(self) -> str:
        return self.details["ErrorInfo"].reason

    @property
    def resource(self) -> str:
        return self.details["ResourceInfo"].resource_name


class Client:
    """One caller's stubs. `call` builds the request from keywords."""

    def __init__(self, channel: grpc.aio.Channel, user: str = ADMIN) -> None:
        self._channel = channel
        self._metadata = (("x-ostinato-user", user),)
        self.stubs = [
            jobs_pb2_grpc.JobServiceStub(channel),
            invocations_pb2_grpc.InvocationServiceStub(channel),
            triggers_pb2_grpc.TriggerServiceStub(channel),
            projects_pb2_grpc.ProjectServiceStub(channel),
            admin_pb2_grpc.AdminServiceStub(channel),
        ]

    def as_user(self, user: str) -> Client:
        return Client(self._channel, user)

    def send(self, method: str, request: Message) -> Awaitable[Any]:
        stub = next(stub for stub in self.stubs if hasattr(stub, method))
        return getattr(stub, method)(request, metadata=self._metadata, timeout=30)

    def watch(self, name: str, resume_token: str = "", **options: Any) -> Any:
        stub = invocations_pb2_grpc.InvocationServiceStub(self._channel)
        request = invocations_pb2.WatchInvocationRequest(name=name, resume_token=resume_token)
        return stub.WatchInvocation(request, metadata=self._metadata, **({"timeout": 30} | options))

    async def apply(self, config: str, **fields: Any) -> projects_pb2.ApplyProjectConfigResponse:
        return await self.send("ApplyProjectConfig", projects_pb2.ApplyProjectConfigRequest(config=config, **fields))

    async def emit(self, job: str, *ids: str) -> triggers_pb2.EmitTriggersResponse.JobResult:
        """One call with one trigger per id, oldest first."""
        batches = [{"trigger": {"id": trigger_id}, "jobs": [f"projects/shop/jobs/{job}"]} for trigger_id in ids]
        answer = await self.send("EmitTriggers", triggers_pb2.EmitTriggersRequest(batches=batches))
        return answer.results[0]


async def refused(call: Awaitable[object]) -> Refusal:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    status = from_call(caught.value)
    assert status is not None, f"{caught.value} carries no details"
    details: dict[str, Any] = {}
    for packed in status.details:
        detail = getattr(error_details_pb2, packed.TypeName().removeprefix("google.rpc."))()
        packed.Unpack(detail)
        details[type(detail).__name__] = detail
    assert details["ErrorInfo"].domain == "ostinato"
    return Refusal(caught.value.code().name, status.message, details)


@asynccontextmanager
async def open_served_api(database: Database, dispatcher: Dispatcher) -> AsyncIterator[Client]:
    watches = WatchLoop(database, clock=SystemClock(), metrics=WatchMetrics(CollectorRegistry()))
    clock, registry = SystemClock(), CollectorRegistry()
    rejected = RejectedReports(database, clock=clock, registry=registry, every=timedelta(milliseconds=20))
    append_logs = AppendLogs(database, dispatcher, TOKENS, rejected, clock=clock, registry=registry)
    resources = ApiResources(database, TaskQueue(dispatcher), PageTokens(b"s" * 32), watches, append_logs)
    interceptor = CallInterceptor(administrators=[ADMIN], clock=SystemClock(), metrics=CallMetrics(CollectorRegistry()))
    async with (
        open_grpc_server(
            "127.0.0.1:0", grpc_services(resources), interceptors=[interceptor], grace=timedelta(seconds=1)
        ) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        loops = [asyncio.ensure_future(loop.run()) for loop in (watches, rejected)]
        try:
            yield Client(channel)
        finally:
            for loop in loops:
                loop.cancel()


def names_of(jobs: Sequence[Any]) -> list[str]:
    return [job.name.rpartition("/")[2] for job in jobs]
