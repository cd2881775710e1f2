"""Makes one set-based call of many concurrent single calls.

While a call is under way, what arrives waits; the next call takes all of it. There is no timer, so a lone caller
waits for nobody and a busy moment groups by itself. A group that fails is run again one by one, so that an item
gets its own error and never a neighbour's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

I = TypeVar("I")  # noqa: E741 - the item's type
R = TypeVar("R")


class GroupedCalls(Generic[I, R]):
    """`run_many` gets at most `max_group` items and answers one result per item, in order."""

    def __init__(
        self, run_many: Callable[[Sequence[I]], Awaitable[Sequence[R]]], *, max_group: int = 500, parallel: int = 1
    ) -> None:
        self._run_many = run_many
        self._max_group = max_group
        self._parallel = parallel
        self._waiting: list[tuple[I, asyncio.Future[R]]] = []
        self._runs: set[asyncio.Task[None]] = set()  # keeps them alive
        self._running = 0

    async def __call__(self, item: I) -> R:
        """The item's own result or error. A cancelled caller leaves the item in its group: it may have taken effect."""
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._running < self._parallel:
            self._running += 1
            run = asyncio.ensure_future(self._run())
            self._runs.add(run)
            run.add_done_callback(self._runs.discard)
        return await future

    async def _run(self) -> None:
        try:
            while self._waiting:
                group, self._waiting = self._waiting[: self._max_group], self._waiting[self._max_group :]
                if group := [entry for entry in group if not entry[1].done()]:
                    await self._run_group(group)
        finally:
            # Directly after the last look at `_waiting`: the task counts as done only later, and who calls in
            # between would wait for a run that looks no more.
            self._running -= 1

    async def _run_group(self, group: list[tuple[I, asyncio.Future[R]]]) -> None:
        try:
            results = await self._run_many([item for item, _ in group])
        except asyncio.CancelledError:
            for _, future in group:
                future.cancel()
            raise
        except Exception as error:  # noqa: BLE001 - handed to the callers
            if len(group) == 1:
                _settle(group[0][1], error)
                return
            for entry in group:
                if not entry[1].done():  # cancelled meanwhile: nobody waits for it, others do
                    await self._run_group([entry])
            return
        for (_, future), result in zip(group, results, strict=True):
            if not future.done():
                future.set_result(result)


def _settle(future: asyncio.Future[R], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
