"""What the ingester answers while its database can't be reached, at start and later."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from dataclasses import replace
from urllib.parse import urlsplit, urlunsplit

import grpc

from ostinato.clock import SystemClock
from ostinato.pb.ingest.v1.notifications_pb2 import NotifyRequest
from ostinato.storage.database import Database
from ostinato.storage.embedded.listening_port import free_port
from ostinato_ingester.main import Ingester, open_ingester
from tests.integration.ingester.running_work import (
    ask_http,
    ingester_settings,
    issue_token,
    notify_grpc,
    notify_http,
    stored_tasks,
)
from tests.integration.ingester.severable_link import open_severable_link

DONE = {"status": "SUCCEEDED"}


def through(link_port: int, database_url: str) -> str:
    parts = urlsplit(database_url)
    credentials, at, _ = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{credentials}{at}127.0.0.1:{link_port}"))


def server_of(database_url: str) -> tuple[str, int]:
    parts = urlsplit(database_url)
    assert parts.hostname
    assert parts.port
    return parts.hostname, parts.port


async def test_a_lost_store_is_503_and_unavailable_until_it_is_back(database_url: str, database: Database) -> None:
    async with AsyncExitStack() as stack:
        link = await stack.enter_async_context(open_severable_link(server_of(database_url)))
        settings = ingester_settings(through(link.port, database_url))
        ingester = await stack.enter_async_context(open_ingester(settings))
        await link.cut()
        await expect_unavailable(ingester)
        await link.mend()
        assert (await notify_http(ingester, DONE)).status == 204
        assert (await ask_http(ingester, "/readyz")).status == 200
    assert len(await stored_tasks(database)) == 1


async def expect_unavailable(ingester: Ingester) -> None:
    answer = await notify_http(ingester, DONE)
    assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
    assert "127.0.0.1" not in answer.text
    told = await notify_grpc(ingester, NotifyRequest(token=issue_token(), status=NotifyRequest.SUCCEEDED))
    assert (told.code, told.asks_to_retry) == (grpc.StatusCode.UNAVAILABLE, True)
    ready = await ask_http(ingester, "/readyz")
    assert (ready.status, "UNAVAILABLE" in ready.text) == (503, True)
    assert (await ask_http(ingester, "/healthz")).status == 200


class SteppedClock(SystemClock):
    """Every pause lasts until the test lets it end."""

    def __init__(self) -> None:
        self.pausing = asyncio.Event()
        self.go_on = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        self.pausing.set()
        await self.go_on.wait()


async def test_until_the_store_is_there_the_process_is_alive_but_not_ready(
    database_url: str, database: Database
) -> None:
    clock = SteppedClock()
    async with open_severable_link(server_of(database_url)) as link, AsyncExitStack() as stack:
        settings = replace(ingester_settings(through(link.port, database_url)), http_address=f"127.0.0.1:{free_port()}")
        await link.cut()
        opening = asyncio.ensure_future(stack.enter_async_context(open_ingester(settings, clock=clock)))
        await clock.pausing.wait()
        starting = Ingester(grpc_address="", http_address=settings.http_address)
        ready = await ask_http(starting, "/readyz")
        assert (ready.status, json.loads(ready.text)["reason"]) == (503, "starting")
        assert (await ask_http(starting, "/healthz")).status == 200
        assert (await notify_http(starting, DONE)).status == 503
        await link.mend()
        clock.go_on.set()
        assert (await notify_http(await opening, DONE)).status == 204
    assert len(await stored_tasks(database)) == 1
