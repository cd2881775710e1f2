"""Where measurements happen: a fresh database for each, and the processor time of everybody around it."""

from __future__ import annotations

import asyncio
import os
import secrets
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import asyncpg

from benchmarks import processor_time
from benchmarks.driver_process import Driver, open_driver
from benchmarks.server import Server
from benchmarks.start_counter import StartCounter
from benchmarks.tables import BUSINESS_SCHEMA, LEFT, RAW_SCHEMA
from ostinato.storage.migrate import STORAGE_LINE
from ostinato.taskqueue.schema import TASKQUEUE_LINE
from ostinato.testing.postgres import create_template, drop_database, fresh_database, with_database


class Observed(Protocol):
    """A process of ours; None where the system does not tell."""

    @property
    def processor_seconds(self) -> float | None: ...


@dataclass(slots=True)
class Usage:
    """Processor seconds within a `Laboratory.observe` block; None where the system does not tell."""

    client: float | None = None
    server: float | None = None
    others: float | None = None  # programs that have nothing to do with this
    seconds: float = 0.0


@dataclass(slots=True)
class Laboratory:
    """Build it with `open_laboratory`."""

    server: Server
    template: str  # the queue's tables, the bare loop's, and a business table
    scheduler_template: str  # the whole schema of the product
    scratch: Path
    filled: dict[tuple[str, int], str] = field(default_factory=dict)

    @asynccontextmanager
    async def database(self, side: str, *, future: int = 0) -> AsyncIterator[str]:
        """The URL of a fresh one, with `future` tasks of `side` that are due in a month."""
        template = self.template
        if future:
            template = self.filled.get((side, future)) or await self._fill(side, future)
        async with fresh_database(self.server.url, template) as url:
            yield url

    @asynccontextmanager
    async def scheduler_database(self) -> AsyncIterator[str]:
        """The URL of a fresh one with the whole schema."""
        async with fresh_database(self.server.url, self.scheduler_template) as url:
            yield url

    async def _fill(self, side: str, future: int) -> str:
        """A template with future tasks, made once: filling takes longer than what is measured beside them."""
        name = f"{self.template}_{side}_{future}"
        await _on_server(self.server.url, f'create database "{name}" template "{self.template}"')
        self.filled[side, future] = name
        due_at = time.time() + 30 * 86400
        async with open_driver(
            side, "load", with_database(self.server.url, name), count=future, due_at=due_at
        ) as driver:
            await driver.run()
        return name

    @contextmanager
    def observe(self, *processes: Observed) -> Iterator[Usage]:
        usage = Usage()
        before, began = self._read(processes), time.perf_counter()
        yield usage
        usage.seconds = time.perf_counter() - began
        client, server, machine = (_difference(a, b) for a, b in zip(self._read(processes), before, strict=True))
        usage.client, usage.server = client, server
        if machine is not None and client is not None and server is not None:
            usage.others = max(0.0, machine - client - server)

    def _read(self, processes: Sequence[Observed]) -> tuple[float | None, float | None, float | None]:
        clients = [process.processor_seconds for process in processes]
        client = None if None in clients else sum(seconds or 0.0 for seconds in clients)
        own = time.process_time()
        machine = processor_time.of_machine()
        return client, self.server.processor_seconds, None if machine is None else machine - own

    @asynccontextmanager
    async def workers(self, side: str, url: str, count: int, **options: object) -> AsyncIterator[list[Worker]]:
        """Worker processes that wait for `go`."""
        async with AsyncExitStack() as open_drivers:
            paths = [self.scratch / secrets.token_hex(4) for _ in range(count)]
            yield list(
                await asyncio.gather(
                    *(self._open_worker(open_drivers, side, url, path, options) for path in paths),
                )
            )

    async def _open_worker(
        self, stack: AsyncExitStack, side: str, url: str, path: Path, options: dict[str, object]
    ) -> Worker:
        starts = StartCounter(str(path))
        return Worker(
            await stack.enter_async_context(open_driver(side, "work", url, counter=str(path), **options)), starts
        )


@dataclass(frozen=True, slots=True)
class Worker:
    driver: Driver
    starts: StartCounter


async def until_started(workers: list[Worker], count: int, *, seconds: float) -> None:
    """Returns when `count` handlers have begun in all; fails after `seconds`."""
    async with asyncio.timeout(seconds):
        while sum(worker.starts.count for worker in workers) < count:  # noqa: ASYNC110 - other processes count
            await asyncio.sleep(0.001)


async def until_empty(connection: asyncpg.Connection[asyncpg.Record], side: str, *, seconds: float) -> None:
    """Returns when nothing is left: neither waiting, nor claimed, nor ended but not written."""
    async with asyncio.timeout(seconds):
        while await connection.fetchval(LEFT[side]):  # noqa: ASYNC110 - only the table knows
            await asyncio.sleep(0.001)


@asynccontextmanager
async def open_laboratory(server: Server) -> AsyncIterator[Laboratory]:
    template = f"ostinato_benchmark_{os.getpid()}_{secrets.token_hex(3)}"
    scheduler_template = f"{template}_scheduler"
    await create_template(server.url, template, lines=(STORAGE_LINE, TASKQUEUE_LINE))
    await create_template(server.url, scheduler_template)
    await _on_server(with_database(server.url, template), RAW_SCHEMA + BUSINESS_SCHEMA)
    with tempfile.TemporaryDirectory(prefix="ostinato-benchmark-") as scratch:
        laboratory = Laboratory(server, template, scheduler_template, Path(scratch))
        try:
            yield laboratory
        finally:
            for name in (template, scheduler_template, *laboratory.filled.values()):
                await drop_database(server.url, name)


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


async def _on_server(url: str, statement: str) -> None:
    async with connected(url) as connection:
        await connection.execute(statement)


def _difference(after: float | None, before: float | None) -> float | None:
    return None if after is None or before is None else after - before
