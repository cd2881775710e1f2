"""As `benchmarks.driver`, for what goes to a remote queue."""

from __future__ import annotations

import asyncio
import json
import sys

from benchmarks.driver import event_loops, spread, timed
from benchmarks.sides.remote import REMOTE_SIDES, RemoteSide


async def add(side: RemoteSide, *, cloud: str, count: int, callers: int, batch: int) -> None:
    """Until the remote queue has all of it."""

    async def add_batch(number: int) -> None:
        await side.add(number * batch, batch)

    async def add_all() -> None:
        await spread(count // batch, callers, add_batch)
        await side.settle()

    await side.open(cloud, callers=callers, count=count)
    await timed(add_all)


async def sweep(side: RemoteSide, *, cloud: str, count: int) -> None:
    await side.open(cloud, callers=8, count=count)
    await timed(side.sweep)


OPERATIONS = {operation.__name__: operation for operation in (add, sweep)}


async def main(side: str, operation: str, arguments: str) -> None:
    options = json.loads(arguments)
    await OPERATIONS[operation](REMOTE_SIDES[side](options.pop("url")), **options)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=event_loops()) as runner:
        runner.run(main(*sys.argv[1:]))
