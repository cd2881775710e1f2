"""A real server on loopback and a real client: what every call goes through."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial

import grpc
import pytest
import structlog
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_status.rpc_status import from_call
from prometheus_client import CollectorRegistry

from ostinato.auth.permissions import METHOD_PERMISSIONS
from ostinato.clock import SystemClock
from ostinato.errors import InvalidArgument, Unavailable, Violation
from ostinato.pb.scheduler.v1 import jobs_pb2, jobs_pb2_grpc
from ostinato.rpc.call_interceptor import CallInterceptor, current_access
from ostinato.rpc.call_log import CallMetrics
from ostinato.rpc.server import GrpcServer, GrpcService, open_grpc_server
from ostinato.telemetry.tracing import current_traceparent

SERVICE = "ostinato.scheduler.v1.JobService"
GET_JOB = f"/{SERVICE}/GetJob"
Serve = Callable[[jobs_pb2.GetJobRequest], Awaitable[jobs_pb2.Job]]


class Jobs(jobs_pb2_grpc.JobServiceServicer):
    def __init__(self, serve: Serve) -> None:
        self._serve = serve

    async def GetJob(self, request, context):
        return await self._serve(request)


async def answer(request: jobs_pb2.GetJobRequest) -> jobs_pb2.Job:
    current_access().is_needless()
    return jobs_pb2.Job(name=request.name, owner=current_access().caller.identity)


@asynccontextmanager
async def serving(
    serve: Serve = answer, permissions=METHOD_PERMISSIONS, registry: CollectorRegistry | None = None
) -> AsyncIterator[tuple[GrpcServer, grpc.aio.Channel]]:
    interceptor = CallInterceptor(
        administrators=["user:dev@localhost"],
        clock=SystemClock(),
        metrics=CallMetrics(registry or CollectorRegistry()),
        permissions=permissions,
    )
    services = [GrpcService(SERVICE, partial(jobs_pb2_grpc.add_JobServiceServicer_to_server, Jobs(serve)))]
    async with (
        open_grpc_server("127.0.0.1:0", services, interceptors=[interceptor], grace=timedelta(seconds=2)) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        yield server, channel


async def get_job(channel: grpc.aio.Channel, name: str = "x", **options) -> jobs_pb2.Job:
    return await jobs_pb2_grpc.JobServiceStub(channel).GetJob(jobs_pb2.GetJobRequest(name=name), **options)


async def refused(call: Awaitable[object]) -> tuple[str, dict[str, object]]:
    """The code, and the details by kind."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    status = from_call(caught.value)
    assert status is not None, f"{caught.value} carries no details"
    details: dict[str, object] = {}
    for packed in status.details:
        detail = getattr(error_details_pb2, packed.TypeName().removeprefix("google.rpc."))()
        packed.Unpack(detail)
        details[type(detail).__name__] = detail
    return caught.value.code().name, details


async def test_a_call_is_answered_and_knows_its_caller() -> None:
    async with serving() as (_, channel):
        job = await get_job(channel, "j")
        named = await get_job(channel, metadata=(("x-ostinato-user", "user:ana"),))
    assert (job.name, job.owner) == ("j", "user:dev@localhost")
    assert named.owner == "user:ana"


async def test_a_malformed_identity_is_refused() -> None:
    async with serving() as (_, channel):
        code, details = await refused(get_job(channel, metadata=(("x-ostinato-user", "ana"),)))
    assert code == "UNAUTHENTICATED"
    assert details["ErrorInfo"].reason == "UNAUTHENTICATED"


async def test_a_method_without_an_entry_in_the_table_is_refused() -> None:
    async with serving(permissions={}) as (_, channel):
        code, _ = await refused(get_job(channel))
    assert code == "PERMISSION_DENIED"


async def test_an_answer_that_nobody_checked_is_withheld() -> None:
    async def forgetful(request: jobs_pb2.GetJobRequest) -> jobs_pb2.Job:
        return jobs_pb2.Job(name=request.name)

    async with serving(forgetful) as (_, channel):
        code, details = await refused(get_job(channel))
    assert code == "INTERNAL"
    assert details["ErrorInfo"].reason == "INTERNAL"


@pytest.mark.parametrize("garbage", [b"\xff\xff\xff", b"\x0a\x02\xff\xfe", b"\x0a\x7f"])
async def test_bytes_that_are_no_request_are_bad_input(garbage: bytes) -> None:
    async with serving() as (_, channel):
        code, details = await refused(channel.unary_unary(GET_JOB)(garbage))
    assert code == "INVALID_ARGUMENT"
    assert details["BadRequest"].field_violations[0].field == "request"


async def test_all_violations_arrive_at_the_client() -> None:
    async def refuse(_: jobs_pb2.GetJobRequest) -> jobs_pb2.Job:
        raise InvalidArgument([Violation(f"jobs[{i}].schedule", "must be a schedule" + " é" * 100) for i in range(999)])

    async with serving(refuse) as (_, channel):
        for _ in range(20):  # clients drop oversized metadata at random between two limits
            code, details = await refused(get_job(channel))
            assert code == "INVALID_ARGUMENT"
    violations = details["BadRequest"].field_violations
    assert violations[0].field == "jobs[0].schedule"
    assert violations[-1].description.endswith(" more")


async def test_an_unexpected_error_is_logged_with_its_traceback_and_not_told() -> None:
    async def fail(_: jobs_pb2.GetJobRequest) -> jobs_pb2.Job:
        raise RuntimeError("the password is secret")

    with structlog.testing.capture_logs() as logs:
        async with serving(fail) as (_, channel):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await get_job(channel)
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert "secret" not in str(caught.value)
    assert [(line["log_level"], line["code"]) for line in logs] == [("error", "INTERNAL")]
    assert isinstance(logs[0]["exc_info"], RuntimeError)


async def test_each_call_has_one_log_line_and_is_counted() -> None:
    registry = CollectorRegistry()
    with structlog.testing.capture_logs() as logs:
        async with serving(registry=registry) as (_, channel):
            await get_job(channel)
            await refused(channel.unary_unary(GET_JOB)(b"\xff"))
    assert [(line["event"], line["method"], line["code"]) for line in logs] == [
        ("rpc", GET_JOB, "OK"),
        ("rpc", GET_JOB, "INVALID_ARGUMENT"),
    ]
    assert logs[0]["caller"] == "user:dev@localhost"
    assert logs[0]["duration_ms"] >= 0
    assert registry.get_sample_value("ostinato_rpc_calls_total", {"method": GET_JOB, "code": "OK"}) == 1
    assert registry.get_sample_value("ostinato_rpc_seconds_count", {"method": GET_JOB}) == 2


async def test_a_call_past_its_deadline_is_cancelled_on_the_server() -> None:
    cancelled = asyncio.Event()

    async def wait(_: jobs_pb2.GetJobRequest) -> jobs_pb2.Job:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        raise AssertionError("unreachable")

    async with serving(wait) as (_, channel):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await get_job(channel, timeout=0.05)
        await asyncio.wait_for(cancelled.wait(), 5)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_a_call_without_a_deadline_ends_at_the_servers_own(monkeypatch: pytest.MonkeyPatch) -> None:
    async def wait(_: jobs_pb2.GetJobRequest) -> jobs_pb2.Job:
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    monkeypatch.setattr("ostinato.rpc.call_deadline.MAX_CALL", timedelta(milliseconds=20))
    async with serving(wait) as (_, channel):
        code, details = await refused(get_job(channel))
    assert code == "DEADLINE_EXCEEDED"
    assert details["ErrorInfo"].reason == "DEADLINE_EXCEEDED"


async def test_a_client_that_leaves_cancels_its_call() -> None:
    began, cancelled = asyncio.Event(), asyncio.Event()

    async def wait(_: jobs_pb2.GetJobRequest) -> jobs_pb2.Job:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        raise AssertionError("unreachable")

    with structlog.testing.capture_logs() as logs:
        async with serving(wait) as (_, channel):
            call = jobs_pb2_grpc.JobServiceStub(channel).GetJob(jobs_pb2.GetJobRequest())
            await asyncio.wait_for(began.wait(), 5)
            call.cancel()
            await asyncio.wait_for(cancelled.wait(), 5)
    assert [line["code"] for line in logs] == ["CANCELLED"]


async def test_a_request_that_is_too_large_is_refused_with_the_limit() -> None:
    async with serving() as (_, channel):
        code, details = await refused(get_job(channel, "x" * (4 * 1024 * 1024)))
    assert code == "INVALID_ARGUMENT"
    (violation,) = details["BadRequest"].field_violations
    assert (violation.field, violation.description) == ("request", "must be at most 4194304 bytes")


async def test_a_request_that_is_far_too_large_is_not_read() -> None:
    async with serving() as (_, channel):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await get_job(channel, "x" * (16 * 1024 * 1024))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_unknown_methods_are_unimplemented() -> None:
    async with serving() as (_, channel):
        for method in (f"{GET_JOB}s", "/nobody.Nowhere/Nothing"):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await channel.unary_unary(method)(b"")
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_transient_errors_say_when_to_repeat() -> None:
    async def fail(_: jobs_pb2.GetJobRequest) -> jobs_pb2.Job:
        raise Unavailable("database: nobody at 10.0.0.1")

    async with serving(fail) as (_, channel):
        code, details = await refused(get_job(channel))
    assert code == "UNAVAILABLE"
    assert details["RetryInfo"].retry_delay.ToTimedelta() > timedelta(0)


async def test_the_trace_of_the_caller_goes_on() -> None:
    traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

    async def show(_: jobs_pb2.GetJobRequest) -> jobs_pb2.Job:
        current_access().is_needless()
        return jobs_pb2.Job(name=current_traceparent() or "")

    async with serving(show) as (_, channel):
        traced = await get_job(channel, metadata=(("traceparent", traceparent),))
        untraced = await get_job(channel, metadata=(("traceparent", "nonsense"),))
    assert (traced.name, untraced.name) == (traceparent, "")


async def test_health_is_told_per_service_and_turns_when_the_server_drains() -> None:
    serving_status = health_pb2.HealthCheckResponse.SERVING
    async with serving() as (server, channel):
        health = health_pb2_grpc.HealthStub(channel)
        for name in ("", SERVICE):
            assert (await health.Check(health_pb2.HealthCheckRequest(service=name))).status == serving_status
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await health.Check(health_pb2.HealthCheckRequest(service="other"))
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        await server.drain()
        for name in ("", SERVICE):
            answered = await health.Check(health_pb2.HealthCheckRequest(service=name))
            assert answered.status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert (await get_job(channel, "still")).name == "still"


async def test_a_running_call_is_answered_before_the_server_ends() -> None:
    began, go_on = asyncio.Event(), asyncio.Event()

    async def wait(request: jobs_pb2.GetJobRequest) -> jobs_pb2.Job:
        began.set()
        await go_on.wait()
        return await answer(request)

    async with serving(wait) as (server, channel):
        call = asyncio.ensure_future(get_job(channel, "late"))
        await asyncio.wait_for(began.wait(), 5)
        stopping = asyncio.ensure_future(server.stop(timedelta(seconds=5)))
        go_on.set()
        assert (await call).name == "late"
        await asyncio.wait_for(stopping, 5)


async def test_reflection_lists_what_is_served() -> None:
    async def asking() -> AsyncIterator[reflection_pb2.ServerReflectionRequest]:
        yield reflection_pb2.ServerReflectionRequest(list_services="")

    async with serving() as (_, channel):
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        answers = [each async for each in stub.ServerReflectionInfo(asking())]
    names = {service.name for service in answers[0].list_services_response.service}
    assert {SERVICE, "grpc.health.v1.Health"} <= names


async def test_an_address_that_is_taken_is_told() -> None:
    async with serving() as (server, _):
        with pytest.raises(OSError, match="can't listen on"):
            async with open_grpc_server(server.address, [], interceptors=[]):
                pass
