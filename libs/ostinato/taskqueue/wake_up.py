"""Tells processes that there is something to claim: directly in this process, by NOTIFY in others.

A wake-up is a hint. Losing one costs a poll interval, never a task; a needless one costs an empty claim.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from datetime import timedelta

from ostinato.clock import Clock
from ostinato.errors import OstinatoError
from ostinato.storage.database import Database
from ostinato.taskqueue.embedded.queue_store import notify

CHANNEL = "ostinato_tq"
QUEUES_CHANGED = "queues"  # instead of strands: load the states of queues anew

_log = logging.getLogger(__name__)
_SPACING = 0.002  # at least this long between two notifications; what comes meanwhile is merged
_MOST_STRANDS = 50


class WakeUps:
    """Collects hints from committed adds. `listen` is how this process's own worker hears them."""

    def __init__(self, db: Database, clock: Clock, *, notify: bool = True) -> None:
        self._db = db
        self._clock = clock
        self._notify = notify
        self._pending: set[int] = set()
        self._wanted = asyncio.Event()
        self._listener: Callable[[frozenset[int]], bool] | None = None
        self._later_listener: Callable[[timedelta], None] | None = None

    def listen(self, ready: Callable[[frozenset[int]], bool], later: Callable[[timedelta], None]) -> None:
        """`ready(strands)` answers True if it will claim them itself, so that others need not be woken."""
        self._listener, self._later_listener = ready, later

    def ready(self, strands: Iterable[int]) -> None:
        """Tasks of these strands are due and committed."""
        hint = frozenset(strands)
        if self._listener is not None and self._listener(hint):
            return
        self.tell_others(hint)

    def tell_others(self, strands: Iterable[int]) -> None:
        """There is something to claim in these for other processes."""
        if self._notify:
            self._pending.update(strands)
            self._wanted.set()

    def later(self, delay: timedelta) -> None:
        """A task is due after `delay`. Others find it by looking once a second."""
        if self._later_listener is not None:
            self._later_listener(delay)

    async def run(self) -> None:
        """Sends notifications until cancelled."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            strands, self._pending = self._pending, set()
            await self._send(strands)
            await self._clock.sleep(_SPACING)

    async def _send(self, strands: set[int]) -> None:
        payload = ",".join(map(str, sorted(strands))) if len(strands) <= _MOST_STRANDS else "*"
        try:
            await notify(self._db, CHANNEL, payload)
        except OstinatoError as error:
            _log.warning("a wake-up was not sent, others will poll: %s", error)


def parse_hint(payload: str) -> frozenset[int] | None:
    """The strands of a notification; None means any (or that the payload is not ours: look at everything)."""
    try:
        return frozenset(int(part) for part in payload.split(","))
    except ValueError:
        return None
