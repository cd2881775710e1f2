"""The engine as a whole, on a real database and real sockets."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

import aiohttp
import grpc
import pytest
from aiohttp import web

from ostinato.auth.notification_token import NotificationTokens
from ostinato.clock import SystemClock
from ostinato.config import EngineSettings
from ostinato.config.authentication import AuthMode, AuthSettings
from ostinato.config.database import DatabaseSettings
from ostinato.config.services import LogLevel
from ostinato.config.tracing import TracingSettings
from ostinato.jobflow.engine_tasks import HANDLE_NOTIFICATION
from ostinato.pb.engine.v1.engine_pb2 import DrainRequest, GetStatusRequest
from ostinato.pb.engine.v1.engine_pb2_grpc import EngineServiceStub
from ostinato.pb.ingest.v1.notifications_pb2 import NotifyRequest
from ostinato.pb.internal.v1.engine_tasks_pb2 import HandleNotificationTask
from ostinato.scheduling.invocation import InvocationStatus as S
from ostinato.scheduling.job_definition import Downstream
from ostinato.scheduling.targets import HttpSpec, NoopSpec
from ostinato_engine.engine_host import EngineHost
from ostinato_engine.main import Engine, open_engine
from tests.integration.engine.stage import Stage

ADMIN = (("x-ostinato-user", "user:dev@localhost"),)


def settings(url: str) -> EngineSettings:
    return EngineSettings(
        database=DatabaseSettings(url, application_name="test-engine"),
        auth=AuthSettings(AuthMode.DEV, admins=("user:dev@localhost",), secret=bytes(32)),
        grpc_address="127.0.0.1:0",
        http_address="127.0.0.1:0",
        shutdown_grace=timedelta(seconds=5),
        log_level=LogLevel.INFO,
        tracing=TracingSettings(),
        cloud_tasks=None,
        maintenance_url=url,
        notify_url="http://127.0.0.1:7082/notify",
        notification_keys=(),
    )


@asynccontextmanager
async def running(stage: Stage, host: EngineHost | None = None) -> AsyncIterator[Engine]:
    async with open_engine(settings(stage.db.settings.url), host) as engine:
        yield engine


async def ended(stage: Stage, job_id: int, count: int) -> list[int]:
    """Statuses of a job's runs in the history, once there are `count`."""
    async with asyncio.timeout(20):
        while True:
            rows = await stage.db.fetch("select status from invocation_history where job_id = $1", job_id)
            if len(rows) >= count:
                return [row[0] for row in rows]
            await asyncio.sleep(0.01)


@asynccontextmanager
async def called_service(answer: Callable[[web.Request], Awaitable[web.Response]]) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


async def readiness_of(address: str) -> tuple[int, dict[str, str]]:
    async with aiohttp.ClientSession() as session, session.get(f"http://{address}/readyz") as response:
        return response.status, await response.json()


async def test_a_trigger_becomes_a_finished_run_and_triggers_the_next_job(stage: Stage) -> None:
    last = await stage.add_job("last")
    first = await stage.add_job("first", downstream=(Downstream("last"),))
    async with running(stage):
        await stage.emit_ids(first, "t1")
        assert await ended(stage, first, 1) == [S.SUCCEEDED]
        assert await ended(stage, last, 1) == [S.SUCCEEDED]


async def test_a_multistage_call_runs_until_a_notification_with_its_token_ends_it(stage: Stage) -> None:
    calls: asyncio.Queue[dict[str, str]] = asyncio.Queue()

    async def accept(request: web.Request) -> web.Response:
        calls.put_nowait(dict(request.headers))
        return web.Response(status=202)

    async with called_service(accept) as url, running(stage):
        job_id = await stage.add_job("long", target=HttpSpec(url=url, multistage=True))
        await stage.emit_ids(job_id, "t1")
        async with asyncio.timeout(10):
            headers = await calls.get()
        tokens = NotificationTokens.configured((), bytes(32))
        claims = tokens.verify(headers["Ostinato-Notify-Token"], now=SystemClock().now())
        assert claims.job_id == job_id
        assert headers["Idempotency-Key"] == f"projects/shop/jobs/long/invocations/{claims.invocation_id}"
        await stage.dispatcher.add(
            HANDLE_NOTIFICATION,
            HandleNotificationTask(
                invocation_id=claims.invocation_id,
                job_id=claims.job_id,
                notification=NotifyRequest(status=NotifyRequest.SUCCEEDED),
            ),
        )
        assert await ended(stage, job_id, 1) == [S.SUCCEEDED]
    assert calls.empty()


async def test_a_schedule_fires_by_itself(stage: Stage) -> None:
    job_id = await stage.add_job("ticking", schedule="* * * * * * *")
    async with running(stage):
        assert (await ended(stage, job_id, 2))[:2] == [S.SUCCEEDED] * 2


async def test_an_engine_takes_up_what_was_waiting_before_it_began(stage: Stage) -> None:
    job_id = await stage.add_job("waiting")
    await stage.emit_ids(job_id, "t1")
    async with running(stage):
        assert await ended(stage, job_id, 1) == [S.SUCCEEDED]


async def test_two_engines_run_everything_once(stage: Stage) -> None:
    jobs = [await stage.add_job(f"job-{number}") for number in range(20)]
    async with running(stage), running(stage):
        for job_id in jobs:
            await stage.emit_ids(job_id, "t1")
        for job_id in jobs:
            assert await ended(stage, job_id, 1) == [S.SUCCEEDED]
    attempts = await stage.db.fetchval("select max(launch_attempts) from invocation_history")
    assert attempts == 1


async def test_draining_lets_what_runs_end(stage: Stage) -> None:
    job_id = await stage.add_job("slow", target=NoopSpec(sleep=timedelta(seconds=0.5)))
    async with running(stage) as engine:
        await stage.emit_ids(job_id, "t1")
        async with asyncio.timeout(10):
            while not engine.worker.running or not await stage.active(job_id):
                await asyncio.sleep(0.005)
            while (await stage.active(job_id))[0]["launch_attempts"] == 0:
                await asyncio.sleep(0.005)
    (row,) = await stage.active(job_id)
    assert row["status"] == S.SUCCEEDED
    assert await stage.db.fetchval("select count(*) from tq_worker") == 0


async def test_the_status_is_told_to_administrators_only(stage: Stage) -> None:
    async with running(stage) as engine, grpc.aio.insecure_channel(engine.grpc_address) as channel:
        stub = EngineServiceStub(channel)
        async with asyncio.timeout(10):
            while not (status := await stub.GetStatus(GetStatusRequest(), metadata=ADMIN)).lease_valid:
                await asyncio.sleep(0.01)
        assert status.worker_id == engine.worker.worker_id
        assert not status.draining
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.GetStatus(GetStatusRequest(), metadata=(("x-ostinato-user", "user:eve@shop.example"),))
        assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_the_drain_call_stops_claiming_and_ends_the_process(stage: Stage) -> None:
    asked = asyncio.Event()
    job_id = await stage.add_job("late")
    host = EngineHost(end_process=asked.set)
    async with running(stage, host) as engine, grpc.aio.insecure_channel(engine.grpc_address) as channel:
        await EngineServiceStub(channel).Drain(DrainRequest(), metadata=ADMIN)
        assert asked.is_set()
        assert engine.worker.draining
        await stage.emit_ids(job_id, "t1")
    assert await stage.pending(job_id) == ["t1"]


async def test_probes_and_metrics_are_served(stage: Stage) -> None:
    async with running(stage) as engine:
        assert await readiness_of(engine.http_address) == (200, {"status": "ready"})
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://{engine.http_address}/metrics") as response,
        ):
            text = await response.text()
    assert "ostinato_engine_jobs_triaged_total" in text
    assert 'ostinato_taskqueue_tasks_total{class="triage-job",event="claimed",queue="triages"}' in text


async def test_a_loop_that_dies_takes_the_engine_down(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    async def die(_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("ostinato_engine.reconcile_loop.ReconcileLoop.run", die)
    with pytest.raises(ExceptionGroup) as failed:
        async with asyncio.timeout(20), running(stage):
            await asyncio.Event().wait()
    assert failed.group_contains(RuntimeError, match="a bug")
    # The traceback holds the gRPC server, which can be disposed of only while the loop runs.
    del failed
    gc.collect()
