"""Work that makes more work: whoever takes some says what it led to, and it is over when nobody has any."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from random import Random
from typing import Generic, TypeVar

T = TypeVar("T")


class WorkSet(Generic[T]):
    """In no order: two processes that work through the same set seldom meet at the same item."""

    def __init__(self, items: Iterable[T], random: Random) -> None:
        self._items = list(items)
        self._random = random
        self._under_way = 0
        self._changed = asyncio.Event()

    async def take_all(self) -> AsyncIterator[T]:
        """Items until none is left and none can come. For any number of callers; each calls `done` for each item."""
        while await self._is_waiting():
            self._under_way += 1
            yield self._items.pop(self._random.randrange(len(self._items)))

    def done(self, more: Iterable[T] = ()) -> None:
        """One item is through, and led to these."""
        self._items += more
        self._under_way -= 1
        self._changed.set()

    async def _is_waiting(self) -> bool:
        while not self._items and self._under_way:
            self._changed.clear()
            await self._changed.wait()
        return bool(self._items)
