"""Neither side of a connection waits long for the other one after it has vanished."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from ostinato.errors import Unavailable
from ostinato.storage.connecting import notice_lost_peer, socket_of
from ostinato.storage.database import Database, DatabaseSettings, connect, open_database
from ostinato.testing.tcp_proxy import open_tcp_proxy


@pytest.fixture
async def hasty(database_url: str) -> AsyncIterator[Database]:
    settings = DatabaseSettings(database_url, idle_transaction_timeout=timedelta(milliseconds=200), pool_size=2)
    async with open_database(settings) as opened:
        yield opened


async def test_a_process_that_hangs_in_a_transaction_loses_its_locks(hasty: Database) -> None:
    """They were its as long as it hung, and everybody else waited."""
    await hasty.execute("create table note (id int primary key)")
    await hasty.execute("insert into note values (1)")
    locked, others_done = asyncio.Event(), asyncio.Event()

    async def hang() -> None:
        async with hasty.transaction() as tx:
            await tx.execute("select from note for update")
            locked.set()
            await others_done.wait()
            await tx.execute("delete from note")

    hanging = asyncio.create_task(hang())
    await locked.wait()
    async with asyncio.timeout(10):
        await hasty.execute("update note set id = 2")
    others_done.set()
    with pytest.raises(Unavailable):
        await hanging
    assert await hasty.fetchval("select id from note") == 2


async def test_both_kernels_are_asked_to_notice_a_lost_peer(database_url: str) -> None:
    connection = await connect(DatabaseSettings(database_url))
    try:
        ours = socket_of(connection)
        assert ours.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        for idle in (
            ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
            int(await connection.fetchval("show tcp_keepalives_idle")),
        ):
            assert idle == 4
        assert ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 8000
        assert await connection.fetchval("show tcp_user_timeout") == "8000"
    finally:
        await connection.close()


def test_a_socket_that_is_not_tcp_is_left_alone() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        notice_lost_peer(ours)
        assert ours.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 0


async def test_the_loss_of_all_pooled_connections_is_no_matter_for_the_log(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The driver wrote a traceback for each, again and again while the server was away."""
    async with (
        open_tcp_proxy(database_url) as proxy,
        open_database(DatabaseSettings(proxy.url(database_url), pool_size=2)) as losing,
    ):
        await asyncio.gather(losing.fetchval("select 1"), losing.fetchval("select 1"))
        with caplog.at_level(logging.INFO):
            proxy.go_down()
            for _ in range(3):
                with pytest.raises(Unavailable):
                    await losing.fetchval("select 1")
            proxy.recover()
            assert await losing.fetchval("select 1") == 1
    assert caplog.messages == []


async def test_a_server_that_takes_no_writes_any_more_is_left_for_another_one(database_url: str) -> None:
    """After a failover without a restart every pooled connection would have stayed with the old primary for good."""
    async with open_database(DatabaseSettings(database_url, pool_size=1)) as database:
        first = await database.fetchval("select pg_backend_pid()")
        await database.execute("set default_transaction_read_only = on")  # as the new standby would say
        with pytest.raises(Unavailable, match="read-only"):
            await database.execute("create table note (id int)")
        assert await database.fetchval("select pg_backend_pid()") != first
        await database.execute("set default_transaction_read_only = on")
        with pytest.raises(Unavailable, match="read-only"):
            async with database.transaction() as tx:
                await tx.execute("create table note (id int)")
        await database.execute("create table note (id int)")
