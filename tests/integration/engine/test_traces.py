"""One trace from EmitTriggers to the request of the target, over the tasks between them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import grpc
import pytest
from aiohttp import web
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased

from ostinato.config import load_api_settings
from ostinato.pb.scheduler.v1.triggers_pb2 import EmitTriggersRequest
from ostinato.pb.scheduler.v1.triggers_pb2_grpc import TriggerServiceStub
from ostinato.scheduling.job_definition import Downstream, TriggeringPolicy
from ostinato.scheduling.targets import HttpSpec
from ostinato.telemetry.spans import Spans
from ostinato_api.main import open_api
from ostinato_engine.engine_host import EngineHost
from tests.integration.engine.stage import Stage
from tests.integration.engine.test_engine import called_service, ended, running

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
OTHER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
UNSAMPLED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"


def trace_of(header: str) -> str:
    return header.split("-")[1]


@dataclass(slots=True)
class Traced:
    """An api and an engine whose spans stay in memory, and a target that keeps the headers it got."""

    stage: Stage
    memory: InMemorySpanExporter
    url: str
    channel: grpc.aio.Channel
    headers: list[tuple[str, str]] = field(default_factory=list)  # (path, traceparent)
    hold: asyncio.Event = field(default_factory=asyncio.Event)

    async def emit(self, job: str, trigger_id: str, traceparent: str | None) -> None:
        metadata = (("x-ostinato-user", "user:dev@localhost"),)
        if traceparent is not None:
            metadata += (("traceparent", traceparent),)
        batch = {"trigger": {"id": trigger_id}, "jobs": [f"projects/shop/jobs/{job}"]}
        await TriggerServiceStub(self.channel).EmitTriggers(
            EmitTriggersRequest(batches=[batch]), metadata=metadata, timeout=20
        )

    async def called(self, count: int) -> Sequence[tuple[str, str]]:
        async with asyncio.timeout(20):
            while len(self.headers) < count:
                await asyncio.sleep(0.005)
        return self.headers

    async def spans(self, trace: str, count: int) -> dict[str, ReadableSpan]:
        """The first of each name of one trace, once there are `count` spans of it."""
        async with asyncio.timeout(20):
            while len(found := [span for span in self.memory.get_finished_spans() if trace_id(span) == trace]) < count:
                await asyncio.sleep(0.005)
        return {span.name: span for span in reversed(found)}


def trace_id(span: ReadableSpan) -> str:
    return f"{span.context.trace_id:032x}"


@pytest.fixture
async def traced(stage: Stage) -> AsyncIterator[Traced]:
    memory = InMemorySpanExporter()
    provider = TracerProvider(sampler=ParentBased(ALWAYS_ON), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(memory))
    spans = Spans(provider.get_tracer("test"))
    seen: list[tuple[str, str]] = []
    hold = asyncio.Event()

    async def answer(request: web.Request) -> web.Response:
        seen.append((request.path, request.headers["traceparent"]))
        if request.path.startswith("/held"):
            await hold.wait()
        return web.Response(status=500 if request.path == "/broken" else 200)

    await stage.db.execute(
        "insert into project (name, created_at, updated_at) values ('shop', ostinato_now(), ostinato_now())"
    )
    async with (
        called_service(answer) as url,
        serving_triggers(stage, spans) as channel,
        running(stage, EngineHost(spans=spans)),
    ):
        yield Traced(stage, memory, url, channel, seen, hold)


@asynccontextmanager
async def serving_triggers(stage: Stage, spans: Spans) -> AsyncIterator[grpc.aio.Channel]:
    environ = {
        "OSTINATO_DATABASE_URL": stage.db.settings.url,
        "OSTINATO_SECRET": "ab" * 32,
        "OSTINATO_API_GRPC_ADDRESS": "127.0.0.1:0",
        "OSTINATO_API_HTTP_ADDRESS": "127.0.0.1:0",
        "OSTINATO_API_SHUTDOWN_GRACE": "1",
    }
    async with (
        open_api(load_api_settings(environ), spans=spans) as api,
        grpc.aio.insecure_channel(api.grpc_address) as channel,
    ):
        yield channel


async def test_one_trace_leads_from_the_call_to_the_request_of_the_target(traced: Traced) -> None:
    await traced.stage.add_job("j", target=HttpSpec(url=f"{traced.url}j"))
    await traced.emit("j", "t1", CALLER)
    ((_, header),) = await traced.called(1)
    spans = await traced.spans(trace_of(CALLER), 4)
    rpc, triage = spans["ostinato.scheduler.v1.TriggerService/EmitTriggers"], spans["triage-job"]
    launch, call = spans["launch-invocation"], spans["POST"]
    assert f"{rpc.parent.span_id:016x}" == CALLER.split("-")[2]
    assert [triage.parent.span_id, launch.parent.span_id, call.parent.span_id] == [
        rpc.context.span_id,
        triage.context.span_id,
        launch.context.span_id,
    ]
    assert header == f"00-{trace_of(CALLER)}-{call.context.span_id:016x}-01"
    assert all(span.status.is_ok or span.status.is_unset for span in spans.values())


async def test_a_call_without_a_trace_begins_one(traced: Traced) -> None:
    await traced.stage.add_job("j", target=HttpSpec(url=f"{traced.url}j"))
    await traced.emit("j", "t1", None)
    ((_, header),) = await traced.called(1)
    spans = await traced.spans(trace_of(header), 4)
    assert spans["ostinato.scheduler.v1.TriggerService/EmitTriggers"].parent is None


async def test_an_unsampled_trace_goes_on_without_spans(traced: Traced) -> None:
    job_id = await traced.stage.add_job("j", target=HttpSpec(url=f"{traced.url}j"))
    await traced.emit("j", "t1", UNSAMPLED)
    ((_, header),) = await traced.called(1)
    await ended(traced.stage, job_id, 1)
    assert (trace_of(header), header[-2:]) == (trace_of(UNSAMPLED), "00")
    assert traced.memory.get_finished_spans() == ()


async def test_runs_that_end_together_keep_their_traces_downstream(traced: Traced) -> None:
    for name in ("a", "b"):
        await traced.stage.add_job(f"{name}2", target=HttpSpec(url=f"{traced.url}{name}2"))
        await traced.stage.add_job(
            name, target=HttpSpec(url=f"{traced.url}held/{name}"), downstream=(Downstream(f"{name}2"),)
        )
    await traced.emit("a", "t1", CALLER)
    await traced.emit("b", "t1", OTHER)
    await traced.called(2)
    traced.hold.set()
    headers = {path: trace_of(header) for path, header in await traced.called(4)}
    assert headers == {
        "/held/a": trace_of(CALLER),
        "/a2": trace_of(CALLER),
        "/held/b": trace_of(OTHER),
        "/b2": trace_of(OTHER),
    }


async def test_a_trigger_that_waited_for_another_run_keeps_its_own_trace(traced: Traced) -> None:
    await traced.stage.add_job(
        "j", target=HttpSpec(url=f"{traced.url}held/j"), policy=TriggeringPolicy(max_batch_size=1)
    )
    await traced.emit("j", "t1", CALLER)
    await traced.called(1)
    await traced.emit("j", "t2", OTHER)
    traced.hold.set()
    assert [trace_of(header) for _, header in await traced.called(2)] == [trace_of(CALLER), trace_of(OTHER)]


async def test_triggers_that_are_triaged_together_keep_their_traces(stage: Stage, traced: Traced) -> None:
    policy = TriggeringPolicy(max_batch_size=1, max_concurrent_invocations=2)
    await stage.add_job("j", target=HttpSpec(url=f"{traced.url}j"), policy=policy)
    await asyncio.gather(traced.emit("j", "t1", CALLER), traced.emit("j", "t2", OTHER))
    assert {trace_of(header) for _, header in await traced.called(2)} == {trace_of(CALLER), trace_of(OTHER)}


async def test_a_failed_run_is_an_error_in_its_trace(traced: Traced) -> None:
    job_id = await traced.stage.add_job("j", target=HttpSpec(url=f"{traced.url}broken"))
    await traced.emit("j", "t1", CALLER)
    await ended(traced.stage, job_id, 1)
    call = (await traced.spans(trace_of(CALLER), 4))["POST"]
    assert call.attributes["error.type"] == "HTTP_STATUS"
    assert not call.status.is_ok


async def test_what_a_caller_says_about_the_trace_of_a_trigger_does_not_count(traced: Traced) -> None:
    await traced.stage.add_job("j", target=HttpSpec(url=f"{traced.url}j"))
    batch = {"trigger": {"id": "t", "traceparent": OTHER}, "jobs": ["projects/shop/jobs/j"]}
    await TriggerServiceStub(traced.channel).EmitTriggers(
        EmitTriggersRequest(batches=[batch]), metadata=(("traceparent", CALLER),), timeout=20
    )
    ((_, header),) = await traced.called(1)
    assert trace_of(header) == trace_of(CALLER)
