"""A random walk through the life of a deployment, and its verdict. Everything in it follows from the seed.

What holds in every committed state is checked again and again on the way, beside the simulation. Once everything has
come to rest the promises are checked against all that the database remembers.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import asyncpg

from ostinato.testing.invariants import find_violations
from ostinato.testing.simulation import open_simulation
from tests.simulation.audit import find_breaches, install_audit
from tests.simulation.promises import find_broken_promises
from tests.simulation.wanderer import Wanderer
from tests.simulation.world import MONDAY

CHECK_EVERY = 20  # steps
# What only a bug says.
_ALARMS = ("set going again", "failed unexpectedly", "can't be written", "can't be followed", "a hook after the commit")


@dataclass(frozen=True, slots=True)
class WalkResult:
    """`trace`: all steps that reached the database, with their times and processes. `slots`: how many were judged."""

    seed: int
    trace: tuple[str, ...]
    problems: tuple[str, ...]
    slots: int = 0

    @property
    def digest(self) -> str:
        """Equal for equal traces."""
        return hashlib.sha256("\n".join(self.trace).encode()).hexdigest()


def take_walk(url: str, seed: int) -> WalkResult:
    """`url` is a fresh migrated database."""
    asyncio.run(on_database(url, install_audit))
    with alarms() as logged, open_simulation(url, seed=seed, start=MONDAY) as simulation:
        simulation.check_between_steps(_look, every=CHECK_EVERY)
        wanderer = Wanderer(simulation)
        simulation.run(wanderer.wander())
        problems = [*simulation.violations, *wanderer.problems]
    if not problems:
        problems = asyncio.run(
            on_database(url, partial(find_broken_promises, accepted=wanderer.accepted, reported=wanderer.reported))
        )
        problems += asyncio.run(on_database(url, _look))
    return WalkResult(seed, tuple(simulation.trace), (*problems, *logged))


async def _look(connection: asyncpg.Connection[asyncpg.Record]) -> list[str]:
    return [*await find_violations(connection), *await find_breaches(connection)]


async def on_database(url: str, act: Callable[[Any], Coroutine[Any, Any, Any]]) -> Any:
    connection = await asyncpg.connect(url)
    try:
        return await act(connection)
    finally:
        await connection.close()


@contextmanager
def alarms() -> Iterator[list[str]]:
    """The log lines of the block that only a bug would write."""
    handler = _Alarms()
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield handler.lines
    finally:
        root.removeHandler(handler)


class _Alarms(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        line = record.getMessage()
        if any(words in line for words in _ALARMS):
            self.lines.append(f"logged: {line} {record.exc_info[1]!r}" if record.exc_info else f"logged: {line}")
