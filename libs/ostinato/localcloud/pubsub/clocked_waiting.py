"""Waiting for the first of two things, one of which may be a time by an injected clock."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from datetime import datetime

from ostinato.clock import Clock


class Bell:
    """Wakes all who wait at the moment it rings. Who looked before waiting, without a pause between, misses nothing."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()

    def ring(self) -> None:
        self._rung.set()
        self._rung = asyncio.Event()

    def wait(self) -> Coroutine[object, object, object]:
        """For the next ring after this call, whenever it is awaited."""
        return self._rung.wait()


async def wait_until(clock: Clock, due: datetime | None, bell: Bell) -> None:
    """Until the bell rings, or it is `due`."""
    if due is None:
        await bell.wait()
    elif clock.now() < due:
        await first_of(bell.wait(), _sleep_until(clock, due))


async def _sleep_until(clock: Clock, due: datetime) -> None:
    """How long that is, is asked when it begins: other tasks may have run since it was made."""
    await clock.sleep((due - clock.now()).total_seconds())


async def first_of(*waits: Coroutine[object, object, object]) -> None:
    """Ends with the first of them; the others are cancelled and have ended too."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
