"""When the claim loop looks again."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from ostinato.clock import SystemClock
from ostinato.taskqueue.embedded.claim_loop import ClaimLoop
from ostinato.taskqueue.embedded.lease import Lease
from ostinato.taskqueue.embedded.pace import Pace

FULL, EMPTY = 1, 2


class EmptyQueues:
    """Counts the claims, which bring nothing."""

    def __init__(self) -> None:
        self.claims: asyncio.Queue[list[int]] = asyncio.Queue()

    async def fetch(self, sql: str, _worker_id: int, strands: list[int], *_: object) -> list[Any]:
        if "tq_find_strands" in sql:
            return []
        self.claims.put_nowait(sorted({strand >> 9 for strand in strands}))
        return []


async def accept(_: object, *, sent_at: float) -> None:
    """Nothing is claimed here."""


async def test_room_in_a_full_queue_is_used_at_once_although_another_queue_idles() -> None:
    """The loop slept on for up to a second while tasks waited and their runners were free."""
    db, rooms = EmptyQueues(), {FULL: 0, EMPTY: 5}
    lease = Lease(7, float("inf"), Pace(busy_poll=40, idle_poll=60))
    tasks: Any = SimpleNamespace(
        lease=lease,
        claiming=asyncio.Lock(),
        draining=False,
        queue_ids=[FULL, EMPTY],
        rooms=lambda: rooms,
        ceilings=frozenset(),
        is_limited=lambda _: False,
        may_start=lambda: True,
        accept=accept,
    )
    running = asyncio.ensure_future(ClaimLoop(db, tasks, SystemClock(), tell_others=list).run())  # type: ignore[arg-type]
    async with asyncio.timeout(5):
        assert await db.claims.get() == [EMPTY]
        await asyncio.sleep(0)
        rooms[FULL] = 1
        tasks.on_room(FULL)
        assert await db.claims.get() == [FULL, EMPTY]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
