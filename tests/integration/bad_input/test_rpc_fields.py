"""Every field of every request against hostile values: refused by field and rule, or answered; never our mistake.

The requests are built from the descriptors, so a new method or field is looked at without being listed here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from ostinato.auth.notification_token import NotificationTokens
from ostinato.config import load_api_settings, load_ingester_settings
from ostinato.pb.engine.v1 import engine_pb2
from ostinato.pb.ingest.v1 import notifications_pb2
from ostinato.pb.scheduler.v1 import admin_pb2, invocations_pb2, jobs_pb2, projects_pb2, triggers_pb2
from ostinato.rpc.call_interceptor import MAX_REQUEST_BYTES
from ostinato.storage.database import Database
from ostinato_api.main import open_api
from ostinato_engine.engine_host import EngineHost
from ostinato_ingester.main import open_ingester
from tests.integration.bad_input.fingerprint import fingerprint
from tests.integration.bad_input.hostile_messages import JOB, deep_struct, hostile_requests
from tests.integration.bad_input.refusals import complaints
from tests.integration.engine.stage import Stage
from tests.integration.engine.test_engine import running

SECRET = bytes(range(32))
CONFIG = """
project: shop
jobs:
  - {id: a, noop: {}, triggering_policy: {max_concurrent_invocations: 3, max_batch_size: 1}}
"""
API_FILES = (jobs_pb2, invocations_pb2, triggers_pb2, projects_pb2, admin_pb2)


def methods_of(*files: Any) -> dict[str, MethodDescriptor]:
    services: list[ServiceDescriptor] = [
        service for file in files for service in file.DESCRIPTOR.services_by_name.values()
    ]
    return {method.name: method for service in services for method in service.methods}


API_METHODS = methods_of(*API_FILES)
INGESTER_METHODS = methods_of(notifications_pb2)
ENGINE_METHODS = methods_of(engine_pb2)
# Their violations speak of the config's own fields.
CONFIG_METHODS = {"ApplyProjectConfig"}


@dataclass(frozen=True, slots=True)
class Fixture:
    """What valid requests speak of: a run that has ended, one that runs, and its token."""

    ended: str
    active: str
    token: str


@dataclass(frozen=True, slots=True)
class Server:
    channel: grpc.aio.Channel

    async def send(self, method: MethodDescriptor, request: bytes, metadata: tuple[tuple[str, str], ...] = ()) -> bytes:
        """The answer, or the first of a stream."""
        path = f"/{method.containing_service.full_name}/{method.name}"
        if not method.server_streaming:
            answer: bytes = await self.channel.unary_unary(path)(request, timeout=20, metadata=metadata)
            return answer
        call = self.channel.unary_stream(path)(request, timeout=20, metadata=metadata)
        try:
            first: bytes = await call.read()
            return first
        finally:
            call.cancel()


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[Server]:
    async with open_api(load_api_settings(_environ(database_url, "API"))) as opened, _server(opened.grpc_address) as it:
        yield it


@pytest.fixture
async def ingester(database_url: str) -> AsyncIterator[Server]:
    settings = load_ingester_settings(_environ(database_url, "INGESTER"))
    async with open_ingester(settings) as opened, _server(opened.grpc_address) as it:
        yield it


@asynccontextmanager
async def _server(address: str) -> AsyncIterator[Server]:
    async with grpc.aio.insecure_channel(address) as channel:
        yield Server(channel)


def _environ(url: str, service: str) -> dict[str, str]:
    return {
        "OSTINATO_DATABASE_URL": url,
        "OSTINATO_SECRET": SECRET.hex(),
        f"OSTINATO_{service}_GRPC_ADDRESS": "127.0.0.1:0",
        f"OSTINATO_{service}_HTTP_ADDRESS": "127.0.0.1:0",
        f"OSTINATO_{service}_SHUTDOWN_GRACE": "1",
    }


async def prepare(api: Server, stage: Stage) -> Fixture:
    await call(api, projects_pb2.ApplyProjectConfigRequest(config=CONFIG))
    for trigger_id in ("t1", "t2"):
        batch = {"trigger": {"id": trigger_id}, "jobs": [JOB]}
        await call(api, triggers_pb2.EmitTriggersRequest(batches=[batch]))
        await stage.triage_until_quiet()
    listed = invocations_pb2.ListInvocationsResponse.FromString(
        await call(api, invocations_pb2.ListInvocationsRequest(parent=JOB))
    )
    active, ended = listed.invocations
    await stage.finish(int(ended.name.rpartition("/")[2]))
    await stage.triage_until_quiet()
    active_id = int(active.name.rpartition("/")[2])
    job_id = await stage.db.fetchval("select job_id from invocation where invocation_id = $1", active_id)
    return Fixture(ended.name, active.name, _token(active_id, job_id))


def _token(invocation_id: int, job_id: int) -> str:
    tokens = NotificationTokens.configured([], SECRET)
    return tokens.issue(invocation_id, job_id, now=datetime.now(UTC), lifetime=timedelta(hours=1))


async def call(server: Server, request: Message) -> bytes:
    name = request.DESCRIPTOR.name.removesuffix("Request")
    return await server.send(API_METHODS[name], request.SerializeToString())


def valid(method: MethodDescriptor, known: Fixture) -> Message:
    """A request that gets far, so that one hostile field gets as far as it can."""
    fields: dict[str, Any] = {
        "name": JOB,
        "parent": JOB,
        "job": JOB,
        "batches": [{"trigger": {"id": "x"}, "jobs": [JOB]}],
        "config": CONFIG,
        "token": known.token,
        "message_id": "m",
        "lines": ["a line"],
        "status": 1,
    }
    match method.name:
        case "GetProject" | "ListJobs":
            fields |= {"name": "projects/shop", "parent": "projects/shop"}
        case "ListLogs" | "WatchInvocation" | "AppendLogs" | "GetInvocation" | "AbortInvocation":
            fields |= {"name": known.active, "parent": known.active}
        case "RetryInvocation":
            fields["name"] = known.ended
        case "PauseQueue" | "ResumeQueue" | "PurgeQueue":
            fields["name"] = "notifications"  # nothing waits there that a purge would strand
    kind = GetMessageClass(method.input_type)
    return kind(**{name: value for name, value in fields.items() if name in kind.DESCRIPTOR.fields_by_name})


def fields_of(method: MethodDescriptor) -> set[str]:
    fields = {field.name for field in method.input_type.fields}
    return fields | {"", "project", "jobs", "bindings"} if method.name in CONFIG_METHODS else fields


@pytest.mark.parametrize("name", API_METHODS)
async def test_no_hostile_field_of_the_api_is_our_mistake(
    api: Server, stage: Stage, database: Database, name: str
) -> None:
    method = API_METHODS[name]
    known = await prepare(api, stage)
    assert await wrong_answers(api, database, method, valid(method, known)) == []


@pytest.mark.parametrize("name", INGESTER_METHODS)
async def test_no_hostile_field_of_the_ingester_is_our_mistake(
    ingester: Server, stage: Stage, database: Database, name: str
) -> None:
    method = INGESTER_METHODS[name]
    job_id = await stage.add_job("a")
    known = Fixture("", "", _token(9_063_279_517_011_443_680, job_id))
    assert await wrong_answers(ingester, database, method, valid(method, known)) == []


async def wrong_answers(server: Server, db: Database, method: MethodDescriptor, request: Message) -> list[object]:
    """Sends the valid request, then everything hostile; what is refused must change nothing."""
    await answered(server, method, request.SerializeToString())
    wrong: list[object] = []
    before = await fingerprint(db)
    for hostile in hostile_requests(request):
        error = await answered(server, method, hostile)
        after = await fingerprint(db)
        if error is not None:
            wrong += [(hostile[:200], complaint) for complaint in complaints(error, fields_of(method))]
            changed = [table for table, rows in before.items() if after[table] != rows]
            wrong += [(hostile[:200], "changed", changed)] if changed else []
        before = after
    return wrong


async def answered(
    server: Server, method: MethodDescriptor, request: bytes, metadata: Any = ()
) -> grpc.aio.AioRpcError | None:
    """The refusal, None if there was an answer."""
    try:
        await server.send(method, request, metadata)
    except grpc.aio.AioRpcError as error:
        return error
    return None


@pytest.mark.parametrize("name", ENGINE_METHODS)
async def test_bytes_that_are_no_request_are_bad_input_to_the_engine(stage: Stage, name: str) -> None:
    async with running(stage, EngineHost(end_process=_not_asked_for)) as engine, _server(engine.grpc_address) as server:
        for garbage in (b"\xff", b"\x0a\x7f", b"\x0b" * 50):
            error = await answered(server, ENGINE_METHODS[name], garbage)
            assert error is not None
            assert list(complaints(error, ())) == []
        stranger = (("x-ostinato-user", "user:eve@shop.example"),)
        error = await answered(server, ENGINE_METHODS[name], b"", stranger)
        assert error is not None
        assert error.code() is grpc.StatusCode.PERMISSION_DENIED
        assert not engine.worker.draining


def _not_asked_for() -> None:
    raise AssertionError("nobody who may do so asked the process to end")


@pytest.mark.parametrize(
    "oversized",
    [
        pytest.param(lambda size: projects_pb2.ApplyProjectConfigRequest(config="#" * size), id="config"),
        pytest.param(
            lambda size: triggers_pb2.EmitTriggersRequest(batches=[{"trigger": {"id": "x" * size}}]), id="triggers"
        ),
        pytest.param(lambda size: jobs_pb2.GetJobRequest(name="x" * size), id="name"),
    ],
)
async def test_a_request_that_is_too_large_is_refused_by_its_size(
    api: Server, oversized: Callable[[int], Message]
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(api, oversized(MAX_REQUEST_BYTES))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert list(complaints(caught.value, ())) == []
    assert str(MAX_REQUEST_BYTES) in caught.value.details()


async def test_a_request_that_is_beyond_all_measure_is_refused_unread(api: Server) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(api, jobs_pb2.GetJobRequest(name="x" * (16 * MAX_REQUEST_BYTES)))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_an_event_deeper_than_any_parser_goes_is_bad_input(api: Server, stage: Stage) -> None:
    await prepare(api, stage)
    event = deep_struct()
    trigger = b"\x0a\x01x" + b"\xba\x01" + _length(event) + event  # id = 1, event = 23
    batch = b"\x0a" + _length(trigger) + trigger
    error = await answered(api, API_METHODS["EmitTriggers"], b"\x0a" + _length(batch) + batch)
    assert error is not None
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert list(complaints(error, ())) == []


def _length(content: bytes) -> bytes:
    value, out = len(content), b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


@pytest.mark.parametrize(
    "metadata",
    [
        (("x-ostinato-user", ""),),
        (("x-ostinato-user", "x" * 5000),),
        (("x-ostinato-user", "user:a"), ("x-ostinato-user", "user:b")),
        (("x-ostinato-user-bin", b"\xff\x00"),),
        (("traceparent", "00-zz"),),
        (("traceparent", "x" * 4000),),
        (("traceparent", "00-" + "0" * 32 + "-" + "0" * 16 + "-01"),),
        (("grpc-timeout", "banana"),),
        (("authorization", "Bearer " + "x" * 4000),),
    ],
    ids=lambda pairs: f"{pairs[0][0]}:{str(pairs[0][1])[:12]!r}",
)
async def test_hostile_metadata_is_refused_or_ignored(api: Server, stage: Stage, metadata: Any) -> None:
    known = await prepare(api, stage)
    request = invocations_pb2.GetInvocationRequest(name=known.active).SerializeToString()
    error = await answered(api, API_METHODS["GetInvocation"], request, metadata)
    assert error is None or error.code() in {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.NOT_FOUND}
    assert error is None or list(complaints(error, ())) == []


async def test_hostile_callers_at_once_leave_the_api_well(api: Server, stage: Stage) -> None:
    known = await prepare(api, stage)
    garbage = [b"\xff" * size for size in (1, 1000, 100_000)] * 30
    errors = await asyncio.gather(
        *(answered(api, method, hostile) for method in API_METHODS.values() for hostile in garbage[:5])
    )
    assert all(error is not None and error.code() is grpc.StatusCode.INVALID_ARGUMENT for error in errors)
    assert await call(api, invocations_pb2.GetInvocationRequest(name=known.active))
