"""The lock around claims, which remembers that the answer to one was lost."""

from __future__ import annotations

import asyncio
from types import TracebackType

from ostinato.clock import Clock
from ostinato.errors import Contention, OstinatoError


class Claiming(asyncio.Lock):
    """Held while rows are claimed and accepted, and by whoever compares what is claimed with what is known.

    `lost` is set when a statement under it may have claimed, or may yet claim, rows that nobody here will hear of.
    """

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.lost = asyncio.Event()
        self.lost_at = float("-inf")  # monotonic
        self._clock = clock

    def in_doubt(self) -> None:
        self.lost_at = self._clock.monotonic()
        self.lost.set()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # Who lost a race for a lock was rolled back.
        if isinstance(error, OstinatoError) and not isinstance(error, Contention):
            self.in_doubt()
        await super().__aexit__(kind, error, traceback)
