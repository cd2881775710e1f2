from __future__ import annotations

import asyncio
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


async def test_what_was_taken_before_the_drain_is_committed_and_answered(database_url: str, database: Database) -> None:
    async with AsyncExitStack() as stack:
        ingester = await stack.enter_async_context(open_ingester(ingester_settings(database_url)))
        async with database.transaction() as tx:
            await tx.execute("lock table tq_ready in share mode")
            over_http = asyncio.ensure_future(notify_http(ingester, {"status": "SUCCEEDED"}))
            over_grpc = asyncio.ensure_future(notify_grpc(ingester, notification()))
            await until_waiting(database, inserts=2)
            closing = asyncio.ensure_future(stack.aclose())
            await until_refused(ingester)
        assert (await over_http).status == 204
        assert (await over_grpc).code is grpc.StatusCode.OK
        await closing
    assert len(await stored_tasks(database)) == 2


def notification() -> NotifyRequest:
    return NotifyRequest(token=issue_token(), status=NotifyRequest.SUCCEEDED)


async def until_waiting(database: Database, *, inserts: int) -> None:
    for _ in range(1000):
        found = await database.fetchval(
            "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
        )
        if found == inserts:
            return
        await asyncio.sleep(0.01)
    pytest.fail(f"there were never {inserts} statements waiting")


async def until_refused(ingester: Ingester) -> None:
    for _ in range(1000):
        try:
            _, writer = await asyncio.open_connection(*split_address(ingester.http_address))
        except ConnectionRefusedError:
            return
        writer.close()
        await asyncio.sleep(0.01)
    pytest.fail("the endpoint still takes connections")
