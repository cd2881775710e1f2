"""One side doing one thing in a process of its own: `python -m benchmarks.driver SIDE OPERATION ARGUMENTS`.

It prints a line when it is ready, waits for `go` on stdin, and prints its result as JSON. A worker runs until
`stop`. The end of stdin ends the process, so that it never outlives who started it.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any

from benchmarks.sides import SIDE_CLASSES, Side
from benchmarks.start_counter import StartCounter

_TURNS = 8


def say(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


async def heard() -> None:
    """The next command; there is only one that makes sense at a time."""
    if not await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline):
        os._exit(1)  # the measuring process is gone


async def ready() -> None:
    say({"ready": True})
    await heard()


async def timed(run: Callable[[], Awaitable[None]]) -> None:
    """Measures `run`, then stays: connections that close would be counted as the server's work."""
    await ready()
    began = time.perf_counter()
    await run()
    say({"seconds": time.perf_counter() - began})
    await heard()


async def add(side: Side, *, count: int, callers: int) -> None:
    await side.open(callers)
    await timed(lambda: spread(count, callers, side.add))


async def bulk(side: Side, *, count: int, batch: int) -> None:
    await side.open(1)
    await timed(lambda: in_batches(side, count, batch, None))


async def load(side: Side, *, count: int, due_at: float | None = None) -> None:
    """As `bulk`, for tasks that are due at one instant."""
    await side.open(1)
    await timed(lambda: in_batches(side, count, 5000, due_at))


async def business(side: Side, *, count: int, callers: int) -> None:
    """`count` transactions without an add and as many with one, in turns: the machine's mood hits both alike."""
    await side.open(callers)
    seconds = {False: 0.0, True: 0.0}
    await ready()
    for _ in range(_TURNS):
        for with_add in seconds:
            one = partial(side.transact, with_add=with_add)
            began = time.perf_counter()
            await spread(count // _TURNS, callers, one)
            seconds[with_add] += time.perf_counter() - began
    say({"alone": seconds[False], "with_add": seconds[True]})
    await heard()


async def produce(side: Side, *, rate: float, seconds: float, warm_up: int) -> None:
    """An open loop: `rate` adds a second whether or not the former ones are answered.

    Tells when each returned, but for the first `warm_up`: they meet connections and statements that are new.
    """
    await side.open(4)
    returned: list[tuple[int, float]] = []

    async def one(number: int) -> None:
        await side.add_announced(number)
        if number >= warm_up:
            returned.append((number, time.monotonic()))

    await ready()
    await paced(rate, int(rate * seconds) + warm_up, one)
    say({"returned": returned})
    await heard()


async def work(side: Side, *, counter: str, log: bool = False, hold: bool = False, listen: bool = True) -> None:
    """Runs tasks until told to stop; with `hold` no handler ever returns, without `listen` wake-ups are not heard."""
    starts = StartCounter(counter, log=log)

    async def handle(number: int) -> None:
        starts.hit(number)
        if hold:
            await asyncio.Event().wait()

    await side.open(4)
    await ready()
    running = asyncio.ensure_future(side.work(handle, listen=listen))
    await asyncio.wait([running, stop := asyncio.ensure_future(heard())], return_when=asyncio.FIRST_COMPLETED)
    if not stop.done():
        running.result()
    side.stop_work()
    await running
    say({"log": starts.log})


async def spread(count: int, callers: int, one: Callable[[int], Awaitable[None]]) -> None:
    """`count` calls by `callers` who each wait for the answer before the next."""
    numbers = iter(range(count))

    async def call() -> None:
        for number in numbers:
            await one(number)

    await asyncio.gather(*(call() for _ in range(callers)))


async def in_batches(side: Side, count: int, batch: int, due_at: float | None) -> None:
    for first in range(0, count, batch):
        await side.add_many(range(first, min(count, first + batch)), due_at)


async def paced(rate: float, count: int, one: Callable[[int], Coroutine[None, None, None]]) -> None:
    began = time.monotonic() + 0.05
    async with asyncio.TaskGroup() as group:
        for number in range(count):
            await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
            group.create_task(one(number))


OPERATIONS = {operation.__name__: operation for operation in (add, bulk, load, business, produce, work)}


def event_loops() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Uvloop where it is installed, for both sides."""
    try:
        from uvloop import new_event_loop
    except ImportError:
        return None
    return new_event_loop


async def main(side: str, operation: str, arguments: str) -> None:
    options = json.loads(arguments)
    await OPERATIONS[operation](SIDE_CLASSES[side](options.pop("url")), **options)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=event_loops()) as runner:
        runner.run(main(*sys.argv[1:]))
