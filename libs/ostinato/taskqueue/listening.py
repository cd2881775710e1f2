"""Hears notifications of other processes on a connection of its own, and notices when it hears them no more.

A connection can be dead without a word (a firewall that forgot it), or alive without notifications (a pooler in
between). So it notifies itself now and then: when that does not come back, this process has to poll.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

from ostinato.clock import Clock
from ostinato.errors import OstinatoError, Unavailable
from ostinato.storage.database import Database
from ostinato.storage.transaction import Tx, adopt
from ostinato.taskqueue.embedded.event_wait import wait_at_most
from ostinato.taskqueue.embedded.queue_store import notify
from ostinato.taskqueue.wake_up import CHANNEL

_log = logging.getLogger(__name__)
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 60.0


@dataclass(frozen=True, slots=True)
class Probing:
    """Seconds: how often a listening connection is tried, and how long its own notification may take."""

    every: float = 10.0
    patience: float = 5.0


@dataclass(slots=True)
class _Link:
    tx: Tx
    channel: str
    gone: asyncio.Event
    echo: asyncio.Event


class Switched(Protocol):
    def __call__(self, *, on: bool) -> None: ...


class Listening:
    """`heard(payload)` for each notification, `switched(on=…)` when it begins or ceases to work."""

    def __init__(
        self,
        db: Database,
        clock: Clock,
        *,
        heard: Callable[[str], None],
        switched: Switched,
        probing: Probing | None = None,
    ) -> None:
        self._db = db
        self._clock = clock
        self._heard = heard
        self._switched = switched
        self._probing = probing or Probing()
        self._pause = _FIRST_PAUSE

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                async with self._connected() as link:
                    await self._listen(link)
            except OstinatoError as error:
                _log.warning("not listening for wake-ups, polling instead: %s", error)
            finally:
                self._switched(on=False)
            await self._clock.sleep(self._pause)
            self._pause = min(_LONGEST_PAUSE, self._pause * 2)

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[_Link]:
        async with self._db.side_connection() as connection:
            channel = f"{CHANNEL}_{connection.get_server_pid()}"
            link = _Link(adopt(connection), channel, asyncio.Event(), asyncio.Event())
            connection.add_termination_listener(lambda _: link.gone.set())
            await connection.add_listener(CHANNEL, lambda *parts: self._heard(str(parts[3])))
            await connection.add_listener(channel, lambda *_: link.echo.set())
            yield link

    async def _listen(self, link: _Link) -> None:
        await self._probe(link)
        self._pause = _FIRST_PAUSE
        self._switched(on=True)
        self._heard("*")  # whatever was announced before we listened
        while not link.gone.is_set():
            await wait_at_most(link.gone, self._probing.every)
            if not link.gone.is_set():
                await self._probe(link)

    async def _probe(self, link: _Link) -> None:
        link.echo.clear()
        try:
            async with asyncio.timeout(self._probing.patience):
                await notify(link.tx, link.channel, "")
                await link.echo.wait()
        except TimeoutError:
            raise Unavailable(f"its own notification did not come back in {self._probing.patience} s") from None
