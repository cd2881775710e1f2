"""Ids of new tasks, known before they are inserted."""

from __future__ import annotations

import asyncio

from ostinato.storage.database import Database
from ostinato.storage.transaction import Tx
from ostinato.taskqueue.embedded.ready_store import Executor, draw_id_blocks

_BLOCK = 1000


class TaskIds:
    """Takes them from a sequence in blocks, so that most adds cost no round trip for it."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._free: list[int] = []
        self._drawing = asyncio.Lock()

    async def take(self, count: int, tx: Tx | None) -> list[int]:
        while len(self._free) < count:
            if tx is None:
                await self._draw_once(count)
            else:
                # On the caller's own connection and without the lock: whoever holds a connection and waits for
                # another one, or for somebody who does, waits for ever once all connections are held so.
                await self._draw(tx, count)
        taken = self._free[-count:]
        del self._free[-count:]
        return taken

    async def _draw_once(self, count: int) -> None:
        async with self._drawing:
            if len(self._free) < count:
                await self._draw(self._db, count)

    async def _draw(self, executor: Executor, count: int) -> None:
        blocks = -(-(count - len(self._free)) // _BLOCK)
        for first in await draw_id_blocks(executor, blocks):
            self._free += range(first, first + _BLOCK)
