"""When the claim loop looks again."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from ostinato.clock import SystemClock
from ostinato.taskqueue.embedded.claim_loop import ClaimLoop
from ostinato.taskqueue.embedded.lease import Lease
from ostinato.taskqueue.embedded.pace import Pace
from ostinato.taskqueue.embedded.strand import strand_of

FULL, EMPTY, LIMITED = 1, 2, 3


class EmptyQueues:
    """Counts the claims, which bring nothing."""

    def __init__(self) -> None:
        self.claims: asyncio.Queue[list[int]] = asyncio.Queue()

    async def fetch(self, sql: str, _worker_id: int, strands: list[int], *_: object) -> list[Any]:
        if "tq_claim" not in sql:
            return []
        self.claims.put_nowait(sorted({strand >> 9 for strand in strands}))
        return []


async def accept(_: object, *, sent_at: float) -> None:
    """Nothing is claimed here."""


def tasks_of(rooms: dict[int, int], *, limited: frozenset[int] = frozenset()) -> Any:
    return SimpleNamespace(
        lease=Lease(7, float("inf"), Pace(busy_poll=40, idle_poll=60)),
        claiming=asyncio.Lock(),
        draining=False,
        queue_ids=list(rooms),
        rooms=lambda: rooms,
        ceilings=frozenset(),
        is_limited=lambda queue: queue in limited,
        may_start=lambda: True,
        accept=accept,
    )


async def test_room_in_a_full_queue_is_used_at_once_although_another_queue_idles() -> None:
    """The loop slept on for up to a second while tasks waited and their runners were free."""
    db, rooms = EmptyQueues(), {FULL: 0, EMPTY: 5}
    tasks = tasks_of(rooms)
    running = asyncio.ensure_future(ClaimLoop(db, tasks, SystemClock(), tell_others=list).run())  # type: ignore[arg-type]
    async with asyncio.timeout(5):
        assert await db.claims.get() == [EMPTY]
        await asyncio.sleep(0)
        rooms[FULL] = 1
        tasks.on_room(FULL)
        assert await db.claims.get() == [FULL, EMPTY]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_hint_is_left_to_others_unless_this_process_has_room_for_all_of_it() -> None:
    """It answered that it would claim them although their queue was full, and nobody else was woken."""
    db, rooms = EmptyQueues(), {FULL: 0, EMPTY: 5, LIMITED: 5}
    tasks = tasks_of(rooms, limited=frozenset({LIMITED}))
    loop = ClaimLoop(db, tasks, SystemClock(), tell_others=list)  # type: ignore[arg-type]
    rooms.pop(LIMITED)
    running = asyncio.ensure_future(loop.run())
    async with asyncio.timeout(5):
        assert await db.claims.get() == [EMPTY]
        await asyncio.sleep(0)
    full, free, limited, foreign = (strand_of(queue) for queue in (FULL, EMPTY, LIMITED, 99))
    assert loop.hint(frozenset({free}))
    assert not loop.hint(frozenset({full}))
    assert not loop.hint(frozenset({free, full}))
    assert not loop.hint(frozenset({limited}))  # its limit is not ours to promise
    assert not loop.hint(frozenset({free, foreign}))  # others serve the other queue
    assert not loop.hint(frozenset({foreign}))
    assert not loop.hint(None)
    tasks.draining = True
    assert not loop.hint(frozenset({free}))
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
