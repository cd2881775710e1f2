"""Methods that answer with a stream go through the same checks, and tell by their status why they ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import Any

import grpc
import pytest
import structlog
from google.rpc import error_details_pb2
from grpc_status.rpc_status import from_call
from prometheus_client import CollectorRegistry

from ostinato.auth.permissions import Permission
from ostinato.clock import SystemClock
from ostinato.errors import NotFound
from ostinato.pb.scheduler.v1 import invocations_pb2_grpc
from ostinato.pb.scheduler.v1.invocations_pb2 import LogLine, WatchInvocationRequest, WatchInvocationResponse
from ostinato.rpc.call_interceptor import CallInterceptor, current_access
from ostinato.rpc.call_log import CallMetrics
from ostinato.rpc.server import GrpcServer, GrpcService, open_grpc_server

SERVICE = "ostinato.scheduler.v1.InvocationService"
WATCH = f"/{SERVICE}/WatchInvocation"
PERMISSIONS = {WATCH: Permission.JOBS_GET}
Stream = Callable[[WatchInvocationRequest], AsyncIterator[WatchInvocationResponse]]


class Invocations(invocations_pb2_grpc.InvocationServiceServicer):
    def __init__(self, serve: Stream) -> None:
        self._serve = serve

    async def WatchInvocation(self, request, context):
        async for response in self._serve(request):
            yield response


def response(text: str) -> WatchInvocationResponse:
    return WatchInvocationResponse(lines=[LogLine(text=text)])


async def three(request: WatchInvocationRequest) -> AsyncIterator[WatchInvocationResponse]:
    current_access().is_needless()
    for number in range(3):
        yield response(f"{request.name} {number}")


class Endless:
    """Sends one message, then nothing more."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()

    async def __call__(self, _: WatchInvocationRequest) -> AsyncIterator[WatchInvocationResponse]:
        current_access().is_needless()
        try:
            yield response("first")
            await asyncio.Event().wait()
        finally:
            self.ended.set()


@asynccontextmanager
async def serving(
    serve: Stream, *, permissions=PERMISSIONS, registry: CollectorRegistry | None = None
) -> AsyncIterator[tuple[GrpcServer, grpc.aio.Channel]]:
    interceptor = CallInterceptor(
        administrators=["user:dev@localhost"],
        clock=SystemClock(),
        metrics=CallMetrics(registry or CollectorRegistry()),
        permissions=permissions,
    )
    add = partial(invocations_pb2_grpc.add_InvocationServiceServicer_to_server, Invocations(serve))
    async with (
        open_grpc_server(
            "127.0.0.1:0", [GrpcService(SERVICE, add)], interceptors=[interceptor], grace=timedelta(seconds=10)
        ) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        yield server, channel


def watch(channel: grpc.aio.Channel, name: str = "x", **options: Any) -> Any:
    stub = invocations_pb2_grpc.InvocationServiceStub(channel)
    return stub.WatchInvocation(WatchInvocationRequest(name=name), **options)


async def texts(call: Any) -> list[str]:
    return [line.text async for each in call for line in each.lines]


async def refused(call: Any) -> tuple[str, dict[str, Any]]:
    """The code, and the details by kind, whatever came before."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        while await call.read() is not grpc.aio.EOF:
            pass
    status = from_call(caught.value)
    assert status is not None, f"{caught.value} carries no details"
    details: dict[str, Any] = {}
    for packed in status.details:
        detail = getattr(error_details_pb2, packed.TypeName().removeprefix("google.rpc."))()
        packed.Unpack(detail)
        details[type(detail).__name__] = detail
    return caught.value.code().name, details


async def test_a_stream_arrives_whole_and_has_one_log_line_at_its_end() -> None:
    registry = CollectorRegistry()
    with structlog.testing.capture_logs() as logs:
        async with serving(three, registry=registry) as (_, channel):
            assert await texts(watch(channel, "run")) == ["run 0", "run 1", "run 2"]
    assert [(line["method"], line["code"], line["responses"], line["caller"]) for line in logs] == [
        (WATCH, "OK", 3, "user:dev@localhost")
    ]
    assert registry.get_sample_value("ostinato_rpc_calls_total", {"method": WATCH, "code": "OK"}) == 1


async def test_a_stream_without_an_entry_in_the_table_is_refused() -> None:
    async with serving(three, permissions={}) as (_, channel):
        assert (await refused(watch(channel)))[0] == "PERMISSION_DENIED"


async def test_a_stream_of_an_unknown_caller_is_refused() -> None:
    async with serving(three) as (_, channel):
        assert (await refused(watch(channel, metadata=(("x-ostinato-user", "ana"),))))[0] == "UNAUTHENTICATED"


async def test_not_one_message_is_sent_before_rights_were_checked() -> None:
    async def forgetful(_: WatchInvocationRequest) -> AsyncIterator[WatchInvocationResponse]:
        yield response("secret")

    async with serving(forgetful) as (_, channel):
        call = watch(channel)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()
    assert caught.value.code() is grpc.StatusCode.INTERNAL


async def test_an_empty_stream_that_nobody_checked_is_refused() -> None:
    async def empty(_: WatchInvocationRequest) -> AsyncIterator[WatchInvocationResponse]:
        for never in ():
            yield never

    async with serving(empty) as (_, channel):
        assert (await refused(watch(channel)))[0] == "INTERNAL"


async def test_bytes_that_are_no_request_are_bad_input() -> None:
    async with serving(three) as (_, channel):
        code, details = await refused(channel.unary_stream(WATCH)(b"\xff\xff"))
    assert (code, details["BadRequest"].field_violations[0].field) == ("INVALID_ARGUMENT", "request")


async def test_an_error_after_some_messages_is_the_status_of_the_stream() -> None:
    async def fails(_: WatchInvocationRequest) -> AsyncIterator[WatchInvocationResponse]:
        current_access().is_needless()
        yield response("first")
        raise NotFound("gone", resource="projects/p/jobs/j/invocations/1")

    async with serving(fails) as (_, channel):
        code, details = await refused(watch(channel))
    assert (code, details["ErrorInfo"].reason) == ("NOT_FOUND", "NOT_FOUND")


async def test_a_stream_past_the_callers_deadline_is_ended() -> None:
    endless = Endless()
    async with serving(endless) as (_, channel):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await texts(watch(channel, timeout=0.1))
        await asyncio.wait_for(endless.ended.wait(), 5)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_a_stream_that_lasts_too_long_asks_to_be_opened_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ostinato.rpc.running_streams.MAX_STREAM", timedelta(milliseconds=20))
    async with serving(Endless()) as (_, channel):
        for options in ({}, {"timeout": 60}):
            code, details = await refused(watch(channel, **options))
            assert (code, details["ErrorInfo"].reason) == ("UNAVAILABLE", "STREAM_INTERRUPTED")
            assert details["RetryInfo"].retry_delay.ToTimedelta() > timedelta(0)


async def test_a_client_that_leaves_ends_its_stream_and_is_no_error() -> None:
    endless = Endless()
    with structlog.testing.capture_logs() as logs:
        async with serving(endless) as (_, channel):
            call = watch(channel)
            assert (await call.read()).lines[0].text == "first"
            call.cancel()
            await asyncio.wait_for(endless.ended.wait(), 5)
    assert [(line["code"], line["log_level"]) for line in logs] == [("CANCELLED", "info")]


async def test_a_client_that_does_not_read_keeps_the_stream_from_producing_more() -> None:
    produced = 0

    async def flood(_: WatchInvocationRequest) -> AsyncIterator[WatchInvocationResponse]:
        nonlocal produced
        current_access().is_needless()
        while True:
            produced += 1
            yield response("x" * 100_000)

    async with serving(flood) as (_, channel):
        call = watch(channel)
        before = -1
        while before != produced:  # until nothing more is produced for a while
            before = produced
            await asyncio.sleep(0.2)
        assert 0 < produced < 1000
        call.cancel()


async def test_a_drain_ends_streams_at_once_and_says_to_repeat() -> None:
    endless = Endless()
    async with serving(endless) as (server, channel):
        call = watch(channel)
        assert (await call.read()).lines[0].text == "first"
        async with asyncio.timeout(5):  # the grace is 10 s
            await server.stop(timedelta(seconds=10))
        code, details = await refused(call)
    assert (code, details["ErrorInfo"].reason) == ("UNAVAILABLE", "STREAM_INTERRUPTED")
    assert endless.ended.is_set()


async def test_a_drain_waits_for_a_client_that_does_not_read_as_long_as_its_grace() -> None:
    ended = asyncio.Event()

    async def flood(_: WatchInvocationRequest) -> AsyncIterator[WatchInvocationResponse]:
        current_access().is_needless()
        try:
            while True:
                yield response("x" * 1_000_000)
        finally:
            ended.set()

    async with serving(flood) as (server, channel):
        call = watch(channel)
        await call.wait_for_connection()
        async with asyncio.timeout(5):
            await server.stop(timedelta(milliseconds=300))
            await ended.wait()
        call.cancel()


async def test_a_stream_that_begins_while_the_server_drains_is_refused() -> None:
    interceptor = CallInterceptor(
        administrators=[], clock=SystemClock(), metrics=CallMetrics(CollectorRegistry()), permissions=PERMISSIONS
    )
    add = partial(invocations_pb2_grpc.add_InvocationServiceServicer_to_server, Invocations(three))
    async with (
        open_grpc_server("127.0.0.1:0", [GrpcService(SERVICE, add)], interceptors=[interceptor]) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        interceptor.streams.drain()
        assert (await refused(watch(channel)))[0] == "UNAVAILABLE"
