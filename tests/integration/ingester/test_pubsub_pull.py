"""Reports that the ingester pulls: acknowledged after their commit, given back while there can be none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta

import pytest

from ostinato.config import IngesterSettings
from ostinato.localcloud.faults import Fault, FaultKind
from ostinato.pb.ingest.v1.notifications_pb2 import NotifyRequest
from ostinato.storage.database import Database
from ostinato_ingester.main import Ingester, open_ingester
from tests.integration.ingester.local_pubsub import (
    SUBSCRIPTION,
    WORKER,
    JumpingClock,
    LocalPubSub,
    open_local_pubsub,
    until,
)
from tests.integration.ingester.published import refused_reports, report
from tests.integration.ingester.running_work import INVOCATION, JOB, ask_http, issue_token, stored_tasks
from tests.integration.ingester.severable_link import open_severable_link
from tests.integration.ingester.test_drain import until_a_statement_waits
from tests.integration.ingester.test_store_away import server_of, through


@pytest.fixture
async def pubsub() -> AsyncIterator[LocalPubSub]:
    async with open_local_pubsub() as opened:
        yield opened


@pytest.fixture
async def ingester(pubsub: LocalPubSub, database_url: str) -> AsyncIterator[Ingester]:
    async with open_ingester(pubsub.settings(database_url)) as opened:
        await pubsub.until_prepared()
        yield opened


async def until_stored(database: Database, count: int) -> None:
    async def stored() -> bool:
        return len(await stored_tasks(database)) >= count

    await until(stored)


async def until_refused(database: Database, count: int) -> None:
    async def refused() -> bool:
        return len(await refused_reports(database)) >= count

    await until(refused)


async def until_called(count: Callable[[], int], least: int) -> None:
    async def called() -> bool:
        return count() >= least

    await until(called)


async def metric(ingester: Ingester, name: str) -> float:
    lines = (await ask_http(ingester, "/metrics")).text.splitlines()
    return float(next(line for line in lines if line.startswith(f"{name} ")).split()[-1])


async def test_a_published_report_is_a_committed_task_and_acknowledged(
    pubsub: LocalPubSub, database_url: str, database: Database
) -> None:
    async with open_ingester(pubsub.settings(database_url)) as ingester:
        await pubsub.until_prepared()
        message_id = await pubsub.publish(report(log_lines=["done"]))
        await until_stored(database, 1)
        assert await metric(ingester, "ostinato_ingester_pubsub_streams") == 1
    (task,) = await stored_tasks(database)
    assert (task.invocation_id, task.job_id) == (INVOCATION, JOB)
    expected = NotifyRequest(message_id=f"pubsub:{message_id}", status=NotifyRequest.SUCCEEDED, log_lines=["done"])
    assert task.notification == expected
    assert await pubsub.left() == []


async def test_a_message_is_acknowledged_only_after_its_commit(
    pubsub: LocalPubSub, ingester: Ingester, database: Database
) -> None:
    acknowledged = pubsub.counting("Acknowledge")
    async with database.transaction() as tx:
        await tx.execute("lock table tq_ready in share mode")
        await pubsub.publish()
        await until_a_statement_waits(database)
        assert await metric(ingester, "ostinato_ingester_pubsub_held") == 1
        assert acknowledged() == 0
    await until_called(acknowledged, 1)
    assert len(await stored_tasks(database)) == 1


async def test_a_message_whose_acknowledgement_is_lost_comes_again_with_the_same_id(
    pubsub: LocalPubSub, ingester: Ingester, database: Database
) -> None:
    """As after a crash between commit and acknowledgement."""
    pubsub.faults.add(Fault("Acknowledge", FaultKind.REFUSED, code="INTERNAL", times=1))
    message_id = await pubsub.publish()
    await until_stored(database, 1)

    async def came_again() -> bool:
        pubsub.clock.jump(timedelta(seconds=61))
        return len(await stored_tasks(database)) == 2

    await until(came_again)
    ids = [task.notification.message_id for task in await stored_tasks(database)]
    assert ids == [f"pubsub:{message_id}"] * 2


async def test_a_message_that_is_delivered_twice_has_the_same_id(
    pubsub: LocalPubSub, ingester: Ingester, database: Database
) -> None:
    pubsub.faults.add(Fault("deliver", FaultKind.DUPLICATED))
    message_id = await pubsub.publish()
    await until_stored(database, 2)
    ids = {task.notification.message_id for task in await stored_tasks(database)}
    assert ids == {f"pubsub:{message_id}"}


async def test_while_the_store_is_away_messages_go_back_and_none_is_lost(
    pubsub: LocalPubSub, database_url: str, database: Database
) -> None:
    async with AsyncExitStack() as stack:
        link = await stack.enter_async_context(open_severable_link(server_of(database_url)))
        settings = pubsub.settings(through(link.port, database_url))
        await stack.enter_async_context(open_ingester(settings))
        await pubsub.until_prepared()
        await link.cut()
        given_back, acknowledged = pubsub.counting("ModifyAckDeadline"), pubsub.counting("Acknowledge")
        published = {f"pubsub:{await pubsub.publish()}" for _ in range(20)}
        await pubsub.publish(b"no JSON")
        await until_called(given_back, 1)
        assert acknowledged() == 0
        await link.mend()
        await until_stored(database, 20)
        await until_refused(database, 1)
    assert {task.notification.message_id for task in await stored_tasks(database)} == published
    assert await pubsub.left() == []


async def test_a_commit_that_breaks_off_is_no_commit_and_the_message_comes_again(
    pubsub: LocalPubSub, database_url: str, database: Database
) -> None:
    async with AsyncExitStack() as stack:
        link = await stack.enter_async_context(open_severable_link(server_of(database_url)))
        settings = pubsub.settings(through(link.port, database_url))
        await stack.enter_async_context(open_ingester(settings))
        await pubsub.until_prepared()
        async with database.transaction() as tx:
            await tx.execute("lock table tq_ready in share mode")
            message_id = await pubsub.publish()
            await until_a_statement_waits(database)
            await link.cut()
            await tx.execute("select pg_terminate_backend(pid) from pg_stat_activity where wait_event_type = 'Lock'")
        await link.mend()
        await until_stored(database, 1)
    assert [task.notification.message_id for task in await stored_tasks(database)] == [f"pubsub:{message_id}"]
    assert await pubsub.left() == []


@pytest.mark.parametrize(
    ("data", "token", "reason"),
    [
        pytest.param(b"status=SUCCEEDED", None, "INVALID_ARGUMENT: data: must be JSON", id="no JSON"),
        pytest.param(b"\xff\x00", None, "INVALID_ARGUMENT: data: must be JSON", id="garbage"),
        pytest.param(report(status="DONE"), None, "INVALID_ARGUMENT: status: must be", id="a wrong field"),
        pytest.param(report(), "", "UNAUTHENTICATED: the notification token", id="no token"),
        pytest.param(
            report(), issue_token(secret=b"x" * 32), "UNAUTHENTICATED: the notification", id="a foreign token"
        ),
    ],
)
async def test_what_can_never_be_taken_is_acknowledged_and_a_dead_letter(
    pubsub: LocalPubSub, database_url: str, database: Database, data: bytes, token: str | None, reason: str
) -> None:
    async with open_ingester(pubsub.settings(database_url)):
        await pubsub.until_prepared()
        message_id = await pubsub.publish(data, token=token)
        await until_refused(database, 1)
    (refused,) = await refused_reports(database)
    assert refused.reason.startswith(reason)
    assert (refused.kind, refused.publisher, refused.message_id) == ("http", WORKER, message_id)
    assert not token or token.encode() not in refused.SerializeToString()
    assert await stored_tasks(database) == []
    assert await pubsub.left() == []


async def test_while_the_database_is_slow_a_message_is_kept(
    pubsub: LocalPubSub, database_url: str, database: Database
) -> None:
    clock = JumpingClock()
    async with open_ingester(pubsub.settings(database_url), clock=clock):
        await pubsub.until_prepared()
        extended = pubsub.counting("ModifyAckDeadline")
        async with database.transaction() as tx:
            await tx.execute("lock table tq_ready in share mode")
            await pubsub.publish()
            await until_a_statement_waits(database)
            for rounds in range(1, 5):
                clock.jump(timedelta(seconds=20))
                await until_called(extended, rounds)
                pubsub.clock.jump(timedelta(seconds=45))
        await until_stored(database, 1)
    assert len(await stored_tasks(database)) == 1
    assert await pubsub.left() == []


async def test_no_more_is_held_than_is_allowed(pubsub: LocalPubSub, database_url: str, database: Database) -> None:
    async with open_ingester(pubsub.settings(database_url, max_messages=3)) as ingester:
        await pubsub.until_prepared()
        async with database.transaction() as tx:
            await tx.execute("lock table tq_ready in share mode")
            for _ in range(10):
                await pubsub.publish()
            await until_a_statement_waits(database)

            async def full() -> bool:
                return await metric(ingester, "ostinato_ingester_pubsub_held") == 3

            await until(full)
            for _ in range(5):
                await pubsub.publish()
                assert await full()
        await until_stored(database, 15)
    assert await pubsub.left() == []


async def test_a_stream_that_breaks_is_opened_again(pubsub: LocalPubSub, database_url: str, database: Database) -> None:
    pubsub.faults.add(Fault("StreamingPull", FaultKind.REFUSED, times=3))
    async with open_ingester(pubsub.settings(database_url)) as ingester:
        await pubsub.until_prepared()
        await pubsub.publish()
        await until_stored(database, 1)
        text = (await ask_http(ingester, "/metrics")).text
    assert 'ostinato_ingester_pubsub_failures_total{reason="ServiceUnavailable"} 3.0' in text


async def test_a_subscription_that_is_gone_is_made_again(
    pubsub: LocalPubSub, ingester: Ingester, database: Database
) -> None:
    await pubsub.clients.subscriber.delete_subscription(subscription=SUBSCRIPTION)
    await pubsub.until_prepared()
    await pubsub.publish()
    await until_stored(database, 1)


async def test_while_pubsub_is_away_everything_else_works(
    pubsub: LocalPubSub, database_url: str, database: Database
) -> None:
    settings = pubsub.settings(database_url, server_address="127.0.0.1:1")
    async with open_ingester(settings) as ingester:
        assert (await ask_http(ingester, "/readyz")).status == 200

        async def told() -> bool:
            return "ostinato_ingester_pubsub_failures_total" in (await ask_http(ingester, "/metrics")).text

        await until(told)


async def test_what_came_before_the_drain_is_committed_and_acknowledged(
    pubsub: LocalPubSub, database_url: str, database: Database
) -> None:
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(open_ingester(pubsub.settings(database_url)))
        await pubsub.until_prepared()
        async with database.transaction() as tx:
            await tx.execute("lock table tq_ready in share mode")
            await pubsub.publish()
            await until_a_statement_waits(database)
            closing = asyncio.ensure_future(stack.aclose())
            await asyncio.sleep(0)
            late = await pubsub.publish()
        await closing
    assert len(await stored_tasks(database)) == 1
    assert await pubsub.left() == [late]


async def test_what_is_not_done_when_the_grace_is_over_goes_back_at_once(
    pubsub: LocalPubSub, database_url: str, database: Database
) -> None:
    settings: IngesterSettings = replace(pubsub.settings(database_url), shutdown_grace=timedelta(0))
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(open_ingester(settings))
        await pubsub.until_prepared()
        async with database.transaction() as tx:
            await tx.execute("lock table tq_ready in share mode")
            message_id = await pubsub.publish()
            await until_a_statement_waits(database)
            returned = pubsub.counting("ModifyAckDeadline")
            closing = asyncio.ensure_future(stack.aclose())
            await until_called(returned, 1)
        await closing
    assert await pubsub.left() == [message_id]


async def test_no_token_is_logged(
    pubsub: LocalPubSub, database_url: str, database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    good, foreign = issue_token(), issue_token(secret=b"x" * 32)
    async with open_ingester(pubsub.settings(database_url)):
        await pubsub.until_prepared()
        await pubsub.publish(report(token=good), token=good)
        for data in (report(token=foreign), report(status="DONE"), b"no JSON"):
            await pubsub.publish(data, token=foreign)
        await until_stored(database, 1)
        await until_refused(database, 3)
    logged = "".join(capsys.readouterr())
    assert logged.count("report refused") == 3
    assert good not in logged
    assert foreign not in logged
