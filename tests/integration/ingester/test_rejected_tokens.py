"""Reports whose token is rejected: callers learn nothing, people can find out what was wrong."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import aiohttp
import grpc
import pytest
from prometheus_client import CollectorRegistry

from ostinato.auth.notification_token import NotificationTokens, TokenFault
from ostinato.clock import SystemClock
from ostinato.jobflow.engine_tasks import ENGINE_TASK_CLASSES
from ostinato.jobflow.rejected_reports import RejectedReports
from ostinato.jobstore.invocation_store import StoredInvocation
from ostinato.pb.ingest.v1.notifications_pb2 import NotifyRequest
from ostinato.pb.ingest.v1.notifications_pb2_grpc import NotificationServiceStub
from ostinato.storage.database import Database
from ostinato.taskqueue import Dispatcher, open_dispatcher
from ostinato.taskqueue.stillborn_tasks import StillbornTasks
from ostinato_ingester.main import Ingester, open_ingester
from ostinato_ingester.notification_intake import NotificationIntake, NotificationMetrics
from ostinato_ingester.pubsub_intake import Origin, PubSubIntake
from ostinato_ingester.pubsub_message import PubSubMessage
from ostinato_ingester.refused_reports import RefusedReports
from tests.integration.engine.runs import start_run
from tests.integration.engine.stage import Stage
from tests.integration.ingester.running_work import SECRET, ingester_settings, notify_grpc, notify_http

LIFE = timedelta(hours=48)
TOKENS = NotificationTokens.configured([], SECRET)
FAULTS = [TokenFault.WRONG_KEY, TokenFault.EXPIRED, TokenFault.FROM_THE_FUTURE]


@pytest.fixture
async def dispatcher(database: Database) -> AsyncIterator[Dispatcher]:
    async with open_dispatcher(database, classes=ENGINE_TASK_CLASSES, notify=False) as opened:
        yield opened


@pytest.fixture
def stage(database: Database, dispatcher: Dispatcher) -> Stage:
    return Stage(database, dispatcher)


@pytest.fixture
async def run(stage: Stage) -> StoredInvocation:
    return await start_run(stage)


def bad_token(run: StoredInvocation, fault: TokenFault) -> str:
    tokens = NotificationTokens([b"f" * 32]) if fault is TokenFault.WRONG_KEY else TOKENS
    age = {TokenFault.EXPIRED: LIFE, TokenFault.FROM_THE_FUTURE: -timedelta(hours=1)}.get(fault, timedelta(0))
    return tokens.issue(run.id, run.job_id, now=datetime.now(UTC) - age, lifetime=LIFE)


async def recorded(database: Database) -> dict[TokenFault, int]:
    rows = await database.fetch("select fault, count from rejected_report")
    return {TokenFault(row["fault"]): row["count"] for row in rows}


@pytest.mark.parametrize("fault", FAULTS)
async def test_what_was_wrong_is_recorded_over_http_and_grpc_at_the_latest_when_the_ingester_ends(
    database_url: str, database: Database, run: StoredInvocation, fault: TokenFault
) -> None:
    token = bad_token(run, fault)
    async with open_ingester(ingester_settings(database_url)) as ingester:
        assert (await notify_http(ingester, {}, authorization=f"Bearer {token}")).status == 401
        for _ in range(2):
            refused = await notify_grpc(ingester, NotifyRequest(token=token))
            assert refused.code is grpc.StatusCode.UNAUTHENTICATED
    assert await recorded(database) == {fault: 3}


async def test_while_the_ingester_goes_on_it_is_recorded_soon(
    ingester: Ingester, stage: Stage, run: StoredInvocation
) -> None:
    token = bad_token(run, TokenFault.WRONG_KEY)
    await notify_http(ingester, {}, authorization=f"Bearer {token}")
    await stage.until("select count(*) = 1 from rejected_report")


async def test_what_came_by_pubsub_is_recorded_too(
    database: Database, dispatcher: Dispatcher, run: StoredInvocation
) -> None:
    clock, registry = SystemClock(), CollectorRegistry()
    rejected = RejectedReports(database, clock=clock, registry=registry)
    intake = PubSubIntake(
        NotificationIntake(TOKENS, dispatcher, rejected, clock),
        RefusedReports(StillbornTasks(dispatcher)),
        NotificationMetrics(registry),
    )
    attributes = {"notification_token": bad_token(run, TokenFault.EXPIRED)}
    message = PubSubMessage("4711", b'{"status": "SUCCEEDED"}', attributes)
    assert not await intake.take(message, Origin("pubsub_pull", "http", "worker@shop.example"))
    await rejected.drain()
    assert await recorded(database) == {TokenFault.EXPIRED: 1}


async def test_made_up_runs_and_malformed_tokens_leave_nothing(
    database_url: str, database: Database, run: StoredInvocation
) -> None:
    stranger = NotificationTokens([b"f" * 32])
    made_up = [stranger.issue(run.id + 16, run.job_id, now=datetime.now(UTC), lifetime=LIFE), "token", "x" * 87]
    async with open_ingester(ingester_settings(database_url)) as ingester:
        for token in made_up:
            assert (await notify_http(ingester, {}, authorization=f"Bearer {token}")).status == 401
    assert await recorded(database) == {}


async def test_whatever_is_wrong_the_answers_are_the_same_to_the_byte(
    ingester: Ingester, run: StoredInvocation
) -> None:
    tokens = [*(bad_token(run, fault) for fault in FAULTS), "x" * 87, "malformed"]
    assert len({await over_http(ingester, token) for token in tokens}) == 1
    assert len({await over_grpc(ingester, token) for token in tokens}) == 1


async def over_http(ingester: Ingester, token: str) -> object:
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession() as session:
        url = f"http://{ingester.http_address}/notify"
        async with session.post(url, json={"status": "SUCCEEDED"}, headers=headers) as answer:
            told = tuple((name, value) for name, value in answer.raw_headers if name != b"Date")
            assert answer.status == 401
            return told, await answer.read()


async def over_grpc(ingester: Ingester, token: str) -> object:
    async with grpc.aio.insecure_channel(ingester.grpc_address) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await NotificationServiceStub(channel).Notify(NotifyRequest(token=token), timeout=15)
    error = caught.value
    assert error.code() is grpc.StatusCode.UNAUTHENTICATED
    return error.details(), tuple(error.initial_metadata()), tuple(error.trailing_metadata())
