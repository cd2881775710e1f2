"""Wake-ups over a connection of its own, and what happens when that connection is dead, or deaf."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from ostinato.clock import SystemClock
from ostinato.storage.database import Database, DatabaseSettings, open_database
from ostinato.taskqueue.embedded.queue_store import notify
from ostinato.taskqueue.listening import Listening, Probing
from ostinato.taskqueue.wake_up import CHANNEL
from ostinato.testing.tcp_proxy import TcpProxy, open_tcp_proxy

QUICK = Probing(every=0.05, patience=0.3)


class Ear:
    """What a listening told its worker."""

    def __init__(self) -> None:
        self.payloads: list[str] = []
        self.on = False

    def switch(self, *, on: bool) -> None:
        self.on = on

    async def until(self, *, on: bool) -> None:
        async with asyncio.timeout(10):
            while self.on is not on:
                await asyncio.sleep(0.005)

    async def until_heard(self, payload: str) -> None:
        async with asyncio.timeout(10):
            while payload not in self.payloads:
                await asyncio.sleep(0.005)


@asynccontextmanager
async def listening(db: Database) -> AsyncIterator[Ear]:
    ear = Ear()
    task = asyncio.ensure_future(
        Listening(db, SystemClock(), heard=ear.payloads.append, switched=ear.switch, probing=QUICK).run()
    )
    try:
        yield ear
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def behind_proxy(database: Database) -> AsyncIterator[tuple[TcpProxy, Ear]]:
    async with (
        open_tcp_proxy(database.settings.url) as proxy,
        open_database(DatabaseSettings(proxy.url(database.settings.url))) as far,
        listening(far) as ear,
    ):
        yield proxy, ear


async def test_notifications_are_heard_and_probes_are_not(database: Database) -> None:
    async with listening(database) as ear:
        await ear.until(on=True)
        await notify(database, CHANNEL, "64")
        await ear.until_heard("64")
    assert set(ear.payloads) == {"*", "64"}


async def test_a_connection_that_swallows_everything_is_noticed_and_another_one_listens(database: Database) -> None:
    """It seemed to listen for as long as the process lived, and nobody polled faster for it."""
    async with behind_proxy(database) as (proxy, ear):
        await ear.until(on=True)
        proxy.black_hole()
        await ear.until(on=False)
        proxy.recover()
        await ear.until(on=True)
        await notify(database, CHANNEL, "65")
        await ear.until_heard("65")


async def test_a_closed_connection_is_replaced(database: Database) -> None:
    async with behind_proxy(database) as (proxy, ear):
        await ear.until(on=True)
        ear.payloads.clear()
        proxy.break_all()
        await ear.until_heard("*")  # it listens anew, and looks at what it has missed


async def test_a_connection_that_hears_nothing_does_not_count_as_listening(
    database: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What a pooler in front of the database does to LISTEN."""

    async def lost(*_: object) -> None:
        """The notification goes to another client of the pooler."""

    monkeypatch.setattr("ostinato.taskqueue.listening.notify", lost)
    async with listening(database) as ear:
        async with asyncio.timeout(10):
            while "did not come back" not in caplog.text:
                await asyncio.sleep(0.005)
        assert not ear.on
    assert ear.payloads == []
