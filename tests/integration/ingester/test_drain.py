from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import grpc
import pytest

from ostinato.config import split_address
from ostinato.pb.ingest.v1.notifications_pb2 import NotifyRequest
from ostinato.storage.database import Database
from ostinato_ingester.main import Ingester, open_ingester
from tests.integration.ingester.running_work import (
    ingester_settings,
    issue_token,
    notify_grpc,
    notify_http,
    stored_tasks,
)


async def over_http(ingester: Ingester) -> bool:
    return (await notify_http(ingester, {"status": "SUCCEEDED"})).status == 204


async def over_grpc(ingester: Ingester) -> bool:
    request = NotifyRequest(token=issue_token(), status=NotifyRequest.SUCCEEDED)
    return (await notify_grpc(ingester, request)).code is grpc.StatusCode.OK


@pytest.mark.parametrize("notify", [over_http, over_grpc])
async def test_what_was_taken_before_the_drain_is_committed_and_answered(
    database_url: str, database: Database, notify: Callable[[Ingester], Awaitable[bool]]
) -> None:
    async with AsyncExitStack() as stack:
        ingester = await stack.enter_async_context(open_ingester(ingester_settings(database_url)))
        async with database.transaction() as tx:
            await tx.execute("lock table tq_ready in share mode")
            accepted = asyncio.ensure_future(notify(ingester))
            await until_a_statement_waits(database)
            closing = asyncio.ensure_future(stack.aclose())
            await expect_refused(ingester)
        assert await accepted
        await closing
    assert len(await stored_tasks(database)) == 1


async def until_a_statement_waits(database: Database) -> None:
    for _ in range(1000):
        if await database.fetchval(
            "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
        ):
            return
        await asyncio.sleep(0.01)
    pytest.fail("no statement ever waited for the lock")


async def expect_refused(ingester: Ingester) -> None:
    for _ in range(10):
        await asyncio.sleep(0)  # the drain begins by closing the listening socket
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(*split_address(ingester.http_address))
