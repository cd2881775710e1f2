"""Frees what claims took whose answer was lost: their worker lives, so nobody else does.

The server may be done with such a claim or not yet: one that waits for a lock on a connection that is gone goes on when
it gets it. So the first look is soon after the loss, and others follow until the server would have cut it short.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta

from ostinato.clock import Clock
from ostinato.errors import OstinatoError
from ostinato.taskqueue.embedded.claiming import Claiming
from ostinato.taskqueue.embedded.event_wait import wait_at_most

_log = logging.getLogger(__name__)
_SOON = 0.5  # seconds; the answers of a whole round may get lost
_AGAIN = 4.0
_COST = 10  # looks take at most this part of the time, unless that is more than `_AGAIN`
_NETWORK_ALLOWANCE = timedelta(seconds=5)


class LostClaims:
    """`free` looks once, under `claiming`: what a claim under way is about to deliver is not free."""

    def __init__(
        self, claiming: Claiming, free: Callable[[], Awaitable[None]], clock: Clock, *, statement_timeout: timedelta
    ) -> None:
        self._claiming = claiming
        self._free = free
        self._clock = clock
        self._longest = (statement_timeout + _NETWORK_ALLOWANCE).total_seconds()
        self._looked_at = float("-inf")

    async def run(self) -> None:
        """Until cancelled."""
        took = 0.0
        while True:
            await self._wait_for_doubt()
            self._claiming.lost.clear()
            await self._clock.sleep(min(_AGAIN, max(_SOON, _COST * took)))
            started = self._clock.monotonic()
            await self._look()
            took = self._clock.monotonic() - started

    async def _wait_for_doubt(self) -> None:
        if self._looked_at >= self._claiming.lost_at + self._longest:
            await self._claiming.lost.wait()
        else:
            await wait_at_most(self._claiming.lost, _AGAIN)

    async def _look(self) -> None:
        started = self._clock.monotonic()
        try:
            await self._free()
        except OstinatoError as error:
            _log.warning("what lost claims took is not free yet, it is tried again: %s", error)
        else:
            self._looked_at = started
