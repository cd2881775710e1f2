"""What is compared: our queue and the bare loop, behind one interface."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from benchmarks.sides.ours import Ours
from benchmarks.sides.raw import Raw


class Side(Protocol):
    """One process's view of a queue. Tasks carry a number."""

    async def open(self, callers: int) -> None:
        """Makes the connections that `callers` concurrent callers use."""
        ...

    async def add(self, number: int) -> None: ...

    async def add_announced(self, number: int) -> None:
        """An add that waiting workers in other processes hear of."""
        ...

    async def add_many(self, numbers: Sequence[int], due_at: float | None) -> None: ...

    async def transact(self, number: int, *, with_add: bool) -> None:
        """A transaction that writes a business row, and a task if wanted."""
        ...

    async def work(self, handle: Callable[[int], Awaitable[None]], *, listen: bool) -> None:
        """Runs tasks until `stop_work`; without `listen` it finds them by polling."""
        ...

    def stop_work(self) -> None: ...


SIDE_CLASSES: dict[str, Callable[[str], Side]] = {"ours": Ours, "raw": Raw}

__all__ = ["SIDE_CLASSES", "Side"]
