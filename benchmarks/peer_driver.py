"""Our queue in harnesses that compare task queues: `python -m benchmarks.peer_driver NAME OPERATION ARGUMENTS`.

The driver prints READY, waits for a line on stdin, does its work and prints `DONE {json}`; a worker runs until the
next line. The connection is named by the PG* variables. `benchmarks/peer.json` tells a harness what else it needs.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from benchmarks.driver import event_loops, in_batches, paced, spread
from benchmarks.laboratory import connected
from benchmarks.sides.ours import NUMBERED, Ours
from benchmarks.start_counter import StartCounter
from benchmarks.tables import BUSINESS_SCHEMA
from ostinato.storage.database import DatabaseSettings, open_database
from ostinato.storage.migrate import STORAGE_LINE, migrate
from ostinato.taskqueue import open_dispatcher
from ostinato.taskqueue.schema import TASKQUEUE_LINE

_COUNTER_BYTES = 24


def say(word: str, answer: dict[str, float] | None = None) -> None:
    sys.stdout.write(word + ("" if answer is None else f" {json.dumps(answer)}") + "\n")
    sys.stdout.flush()


async def heard() -> None:
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)


async def timed(run: Callable[[], Awaitable[None]]) -> None:
    """Measures `run`, then stays until stdin ends: connections that close would be counted as the server's work."""
    say("READY")
    await heard()
    processor, began = time.process_time(), time.perf_counter()
    await run()
    say("DONE", {"s": time.perf_counter() - began, "cpu": time.process_time() - processor})
    await heard()


async def setup() -> None:
    """The queue's tables and a business table in an empty database, and the queue itself."""
    async with connected(database_url()) as connection:
        await migrate(connection, (STORAGE_LINE, TASKQUEUE_LINE))
        await connection.execute(BUSINESS_SCHEMA)
    async with open_database(DatabaseSettings(database_url())) as db, open_dispatcher(db, classes=[NUMBERED]):
        pass


async def enqueue(*, n: int, conc: int) -> None:
    side = await opened(conc)
    await timed(lambda: spread(n, conc, side.add))


async def bulk(
    *, n: int, batch: int = 1000, due_in: float | None = None, due_at: float | None = None, quiet: bool = False
) -> None:
    del quiet  # bulk adds make no noise
    side = await opened(1)
    at = time.time() + due_in if due_in else due_at
    await timed(lambda: in_batches(side, n, batch, at))


async def txn(*, n: int, conc: int, enqueue: bool) -> None:
    side = await opened(conc)
    await timed(lambda: spread(n, conc, partial(side.transact, with_add=enqueue)))


async def produce(*, rate: float, seconds: float, path: str) -> None:
    """Writes (number, before the call, after it) of each add to `path`."""
    side = await opened(4)
    added: list[tuple[int, float, float]] = []

    async def one(number: int) -> None:
        before = time.time()
        await side.add_announced(number)
        added.append((number, before, time.time()))

    await timed(lambda: paced(rate, int(rate * seconds), one))
    write_json(path, added)


async def work(*, path: str, log: bool = False, nap: float = 0) -> None:
    """Counts starts in the file `path`; with `log`, writes (number, time) of each to `path`.log."""
    Path(path).write_bytes(bytes(_COUNTER_BYTES))  # noqa: ASYNC240 - nothing else runs yet
    starts, logged = StartCounter(path), list[tuple[int, float]]()

    async def handle(number: int) -> None:
        starts.hit(number)
        if log:
            logged.append((number, time.time()))
        if nap:
            await asyncio.sleep(nap)

    side = await opened(4)
    say("READY")
    await heard()
    running = asyncio.ensure_future(side.work(handle, listen=True))
    await asyncio.wait([running, asyncio.ensure_future(heard())], return_when=asyncio.FIRST_COMPLETED)
    side.stop_work()
    await running
    if log:
        write_json(f"{path}.log", logged)
    say("DONE")


async def opened(callers: int) -> Ours:
    side = Ours(database_url())
    await side.open(callers)
    return side


def database_url() -> str:
    user, name = quote(os.environ["PGUSER"], safe=""), quote(os.environ["PGDATABASE"], safe="")
    host, port = quote(os.environ["PGHOST"], safe=""), os.environ["PGPORT"]
    return f"postgresql://{user}@/{name}?host={host}&port={port}"


def write_json(path: str, content: object) -> None:
    Path(path).write_text(json.dumps(content), encoding="utf-8")


OPERATIONS: dict[str, Callable[..., Awaitable[None]]] = {
    operation.__name__: operation for operation in (setup, enqueue, bulk, txn, produce, work)
}


async def main(operation: str, arguments: str = "{}") -> None:
    options: dict[str, Any] = json.loads(arguments)
    await OPERATIONS[operation](**options)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=event_loops()) as runner:
        runner.run(main(*sys.argv[2:]))
