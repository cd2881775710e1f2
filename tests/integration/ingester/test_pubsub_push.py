"""`POST /pubsub/push`: who may push, what is answered, and what is stored."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest
from aiohttp import web

from ostinato.clock import SystemClock
from ostinato.pb.ingest.v1.notifications_pb2 import NotifyRequest
from ostinato.storage.database import Database
from ostinato.storage.embedded.listening_port import free_port
from ostinato_ingester.main import Ingester, open_ingester
from tests.integration.ingester.published import (
    PUSHER,
    WORKER,
    push,
    push_body,
    push_settings,
    refused_reports,
    report,
)
from tests.integration.ingester.running_work import (
    INVOCATION,
    JOB,
    SECRET,
    HttpAnswer,
    ask_http,
    ingester_settings,
    issue_token,
    stored_tasks,
)
from tests.integration.ingester.severable_link import open_severable_link
from tests.integration.ingester.test_store_away import SteppedClock, server_of, through
from tests.integration.rpc.issuing import ServedIssuer, open_issuer


@pytest.fixture
async def issuer() -> AsyncIterator[ServedIssuer]:
    async with open_issuer(SystemClock()) as served:
        yield served


@dataclass
class Pushing:
    ingester: Ingester
    issuer: ServedIssuer

    async def __call__(self, body: object, *, query: str | None = None) -> HttpAnswer:
        return await push(self.ingester, body, authorization=self.authorization(), query=query)

    def authorization(self, email: str = PUSHER, *, age: timedelta = timedelta(0)) -> str:
        audience = f"http://{self.ingester.http_address}/pubsub/push"
        return self.issuer.issue(email, audience, age=age)


@pytest.fixture
async def pushing(database_url: str, issuer: ServedIssuer) -> AsyncIterator[Pushing]:
    async with open_ingester(push_settings(database_url, issuer.settings)) as ingester:
        yield Pushing(ingester, issuer)


async def test_a_pushed_report_is_a_committed_task(pushing: Pushing, database: Database) -> None:
    answer = await pushing(push_body(report(log_lines=["done"]), message_id="4711"))
    assert (answer.status, answer.text) == (204, "")
    (task,) = await stored_tasks(database)
    assert (task.invocation_id, task.job_id) == (INVOCATION, JOB)
    assert task.notification == NotifyRequest(
        message_id="pubsub:4711", status=NotifyRequest.SUCCEEDED, log_lines=["done"]
    )


async def test_a_token_in_the_data_is_as_good(pushing: Pushing, database: Database) -> None:
    answer = await pushing(push_body(report(token=issue_token(), message_id="m"), attributes={}))
    assert answer.status == 204
    (task,) = await stored_tasks(database)
    assert (task.notification.message_id, task.notification.token) == ("m", "")


async def test_the_publishers_trace_goes_on_with_the_task(pushing: Pushing, database: Database) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    attributes = {"notification_token": issue_token(), "traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
    assert (await pushing(push_body(report(), attributes=attributes))).status == 204
    assert trace.encode() in await database.fetchval("select header from tq_ready")


async def test_who_is_not_pubsub_is_refused_before_anything_is_read(pushing: Pushing, database: Database) -> None:
    good = pushing.authorization()
    strangers = {
        None: 401,
        "Bearer x": 401,
        good + "x": 401,
        f"Bearer {issue_token()}": 401,  # of a run, not of a service
        pushing.authorization(age=timedelta(hours=2)): 401,
        pushing.issuer.issue(PUSHER, "https://elsewhere.example/pubsub/push"): 401,
        pushing.authorization("stranger@shop.example"): 403,
    }
    for authorization, status in strangers.items():
        answer = await push(pushing.ingester, b"no JSON", authorization=authorization)
        assert (answer.status, authorization) == (status, authorization)
        assert not authorization or authorization.removeprefix("Bearer ") not in answer.text
        assert ("WWW-Authenticate" in answer.headers) is (status == 401)
    assert await refused_reports(database) == []
    assert await stored_tasks(database) == []


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        pytest.param(b"", "INVALID_ARGUMENT: body: must be JSON", id="empty"),
        pytest.param(b"\xff\x00{", "INVALID_ARGUMENT: body: must be JSON", id="garbage"),
        pytest.param({}, "INVALID_ARGUMENT: message: must be", id="no message"),
        pytest.param(push_body(b"", data="?"), "INVALID_ARGUMENT: message.data: must be base64", id="no base64"),
        pytest.param(push_body(b"status=SUCCEEDED"), "INVALID_ARGUMENT: data: must be JSON", id="no JSON"),
        pytest.param(push_body(report(status="DONE")), "INVALID_ARGUMENT: status: must be", id="a wrong field"),
        pytest.param(push_body(b'{"\\u0000": 1}'), "INVALID_ARGUMENT: \ufffd: is unknown", id="no text"),
        pytest.param(push_body(report(), attributes={}), "UNAUTHENTICATED: the notification token", id="no token"),
        pytest.param(
            push_body(report(), attributes={"notification_token": issue_token(secret=b"x" * 32)}),
            "UNAUTHENTICATED: the notification token",
            id="a foreign token",
        ),
        pytest.param(
            push_body(report(), attributes={"notification_token": issue_token(age=timedelta(hours=49))}),
            "UNAUTHENTICATED: the notification token",
            id="an old token",
        ),
        pytest.param(b" " * (4 * 1024 * 1024 + 1), "INVALID_ARGUMENT: body: must be at most", id="huge"),
    ],
)
async def test_what_can_never_be_taken_is_202_and_a_dead_letter(
    pushing: Pushing, database: Database, body: object, reason: str
) -> None:
    answer = await pushing(body)
    assert (answer.status, answer.text) == (202, "")
    (refused,) = await refused_reports(database)
    assert refused.reason.startswith(reason)
    assert (refused.kind, refused.publisher) == ("http", WORKER)
    assert await stored_tasks(database) == []


async def test_an_unknown_kind_is_202_and_a_dead_letter(pushing: Pushing, database: Database) -> None:
    for query in ("kind=git", "kind=", "", "publisher=x", "kind=%00", f"kind={'x' * 5000}"):
        assert (await pushing(push_body(report()), query=query)).status == 202
    found = await refused_reports(database)
    assert {refused.reason.partition(",")[0] for refused in found} == {"INVALID_ARGUMENT: kind: must be one of: http"}
    assert len(found) == 6


async def test_a_dead_letter_shows_the_original_without_its_token(pushing: Pushing, database: Database) -> None:
    token = issue_token(secret=b"x" * 32)
    attributes = {"notification_token": token, "origin": "west"}
    await pushing(push_body(report(token=token, error_message="é"), message_id="4711", attributes=attributes))
    (refused,) = await refused_reports(database)
    assert refused.message_id == "4711"
    assert json.loads(refused.data) == {"status": "SUCCEEDED", "error_message": "é", "token": "***"}
    assert dict(refused.attributes) == {"notification_token": "***", "origin": "west"}
    assert token.encode() not in refused.SerializeToString()


async def test_while_the_store_is_away_everything_is_503_and_nothing_is_lost(
    database_url: str, database: Database, issuer: ServedIssuer
) -> None:
    async with AsyncExitStack() as stack:
        link = await stack.enter_async_context(open_severable_link(server_of(database_url)))
        settings = push_settings(through(link.port, database_url), issuer.settings)
        pushing = Pushing(await stack.enter_async_context(open_ingester(settings)), issuer)
        await link.cut()
        for body in (push_body(report()), push_body(b"no JSON"), b"no JSON"):
            answer = await pushing(body)
            assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
            assert "127.0.0.1" not in answer.text
        await link.mend()
        assert (await pushing(push_body(report()))).status == 204
        assert (await pushing(b"no JSON")).status == 202
    assert len(await stored_tasks(database)) == 1
    assert len(await refused_reports(database)) == 1


async def test_while_the_issuer_is_away_nobody_is_judged(pushing: Pushing, database: Database) -> None:
    pushing.issuer.answers = lambda: web.Response(status=500)
    assert (await pushing(push_body(report()))).status == 503
    assert await stored_tasks(database) == []


async def test_while_the_ingester_starts_pushes_are_503(database_url: str, issuer: ServedIssuer) -> None:
    clock = SteppedClock()
    async with open_severable_link(server_of(database_url)) as link, AsyncExitStack() as stack:
        http_address = f"127.0.0.1:{free_port()}"
        settings = push_settings(through(link.port, database_url), issuer.settings)
        await link.cut()
        opening = asyncio.ensure_future(
            stack.enter_async_context(open_ingester(replace(settings, http_address=http_address), clock=clock))
        )
        await clock.pausing.wait()
        pushing = Pushing(Ingester(grpc_address="", http_address=http_address), issuer)
        assert (await pushing(push_body(report()))).status == 503
        await link.mend()
        clock.go_on.set()
        await opening
        assert (await pushing(push_body(report()))).status == 204


async def test_without_settings_there_is_no_such_path(database_url: str) -> None:
    async with open_ingester(ingester_settings(database_url)) as ingester:
        assert (await push(ingester, push_body(report()), authorization="Bearer x")).status == 404
        assert "pubsub" not in (await ask_http(ingester, "/metrics")).text


async def test_what_came_by_push_is_counted_by_its_outcome(pushing: Pushing) -> None:
    await pushing(push_body(report()))
    await pushing(push_body(report(), attributes={}))
    await pushing(b"")
    metrics = (await ask_http(pushing.ingester, "/metrics")).text
    for outcome in ("ACCEPTED", "UNAUTHENTICATED", "INVALID_ARGUMENT"):
        assert f'ostinato_notifications_total{{outcome="{outcome}",transport="pubsub_push"}} 1.0' in metrics
    assert SECRET.hex() not in metrics
