"""An ingester and a Pub/Sub as they are in production: pushes with identity tokens, and processes that are killed."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from aiohttp import web

from ostinato.clock import SystemClock
from ostinato.localcloud.faults import Fault, FaultKind
from ostinato.storage.database import Database
from ostinato.storage.embedded.listening_port import free_port
from ostinato_ingester.main import open_ingester
from tests.integration.ingester.local_pubsub import PROJECT, WORKER, LocalPubSub, open_local_pubsub, until
from tests.integration.ingester.published import PUSHER, refused_reports, report
from tests.integration.ingester.running_work import stored_tasks
from tests.integration.ingester.test_drain import until_a_statement_waits
from tests.integration.ingester.test_ingester_process import environment, start
from tests.integration.rpc.issuing import open_issuer


async def test_reports_come_by_push_with_an_identity_token_once_its_issuer_is_there(
    database_url: str, database: Database
) -> None:
    address = f"127.0.0.1:{free_port()}"
    async with open_issuer(SystemClock()) as issuer, open_local_pubsub(issuer.tokens) as pubsub:
        issuer.answers = lambda: web.Response(status=503)
        settings = pubsub.settings(database_url, push_url=f"http://{address}/pubsub/push", push_callers=(PUSHER,))
        async with open_ingester(replace(settings, http_address=address, oidc=issuer.settings)):
            await pubsub.until_prepared()
            good = await pubsub.publish(report(log_lines=["done"]))
            bad = await pubsub.publish(b"no JSON")

            async def asked() -> bool:
                return issuer.asked > 0

            async def both_stored() -> bool:
                return bool(await stored_tasks(database)) and bool(await refused_reports(database))

            await until(asked)
            issuer.answers = None
            await until(both_stored)
    assert {task.notification.message_id for task in await stored_tasks(database)} == {f"pubsub:{good}"}
    origins = {(refused.kind, refused.publisher, refused.message_id) for refused in await refused_reports(database)}
    assert origins == {("http", WORKER, bad)}


async def test_pushes_of_a_stranger_are_never_taken(database_url: str, database: Database) -> None:
    address = f"127.0.0.1:{free_port()}"
    async with open_issuer(SystemClock()) as issuer, open_local_pubsub(issuer.tokens) as pubsub:
        # The subscription pushes as the first one, the ingester lets only the other one in.
        settings = pubsub.settings(database_url, push_url=f"http://{address}/pubsub/push", push_callers=(PUSHER,))
        async with open_ingester(settings):
            await pubsub.until_prepared()
        refusing = replace(settings.pubsub, push_callers=("other@shop.example",), prepare=False)
        pushes = pubsub.counting("push")
        settings = replace(settings, http_address=address, oidc=issuer.settings, pubsub=refusing)
        async with open_ingester(settings):
            await pubsub.publish()

            async def refused() -> bool:
                return pushes() >= 2

            await until(refused)
    assert await stored_tasks(database) == []
    assert await refused_reports(database) == []


@pytest.mark.parametrize("after", ["before the commit", "before the acknowledgement"])
async def test_a_killed_ingester_loses_nothing(database_url: str, database: Database, after: str) -> None:
    async with open_local_pubsub() as pubsub:
        env = process_environment(pubsub, database_url)
        process = await start(env=env)
        await pubsub.until_prepared()
        if after == "before the commit":
            async with database.transaction() as tx:
                await tx.execute("lock table tq_ready in share mode")
                message_id = await pubsub.publish()
                await until_a_statement_waits(database)
                process.kill()
                await process.wait()
        else:
            pubsub.faults.add(slow_acknowledgement())
            message_id = await pubsub.publish()
            await until(lambda: is_stored(database))
            process.kill()
            await process.wait()
            pubsub.faults.clear()
        streams = pubsub.counting("StreamingPull")
        successor = await start(env=env)

        async def listens() -> bool:
            return streams() > 0

        async def came_again() -> bool:
            return len(await stored_tasks(database)) == (1 if after == "before the commit" else 2)

        # The lease of the dead one ends once, so that the successor's own does not.
        await until(listens)
        pubsub.clock.jump(timedelta(seconds=70))
        await until(came_again)
        successor.terminate()
        assert await successor.wait() == 0
        assert await pubsub.left() == []
    assert {task.notification.message_id for task in await stored_tasks(database)} == {f"pubsub:{message_id}"}


async def is_stored(database: Database) -> bool:
    return len(await stored_tasks(database)) == 1


def slow_acknowledgement() -> Fault:
    return Fault("Acknowledge", FaultKind.SLOW, delay=timedelta(hours=1))


def process_environment(pubsub: LocalPubSub, database_url: str) -> dict[str, str]:
    return environment(
        database_url,
        OSTINATO_INGESTER_GRPC_ADDRESS="127.0.0.1:0",
        OSTINATO_INGESTER_HTTP_ADDRESS="127.0.0.1:0",
        OSTINATO_INGESTER_PUBSUB_PROJECT=PROJECT,
        OSTINATO_INGESTER_PUBSUB_PUBLISHERS=f"http={WORKER}",
        OSTINATO_INGESTER_PUBSUB_ADDRESS=pubsub.address,
    )
