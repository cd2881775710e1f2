"""A random walk through transactional reminders, and its verdict: what was committed is executed, and nothing else.

At every moment each task of a committed order is in the remote queue or a reminder, parked ones included, and
nothing else is anywhere. This is checked again and again beside the simulation; in the end all of it was executed.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from functools import partial

import asyncpg

from ostinato.taskqueue.cloud_tasks.plain_messages import CreateTaskRequest
from ostinato.taskqueue.reminders.reminder import decode_reminder
from ostinato.testing.invariants import find_reminder_violations
from ostinato.testing.simulation import open_simulation
from tests.simulation.order_wanderer import ROUNDS, OrderWanderer
from tests.simulation.outbox import ORDER_SQL, Told, number_of
from tests.simulation.walk import WalkResult, alarms, on_database
from tests.simulation.world import MONDAY

CHECK_EVERY = 200  # steps
_REMEMBERED = "select payload from tq_reminder union all select payload from tq_parked_reminder"


def take_order_walk(url: str, seed: int, *, rounds: int = ROUNDS) -> WalkResult:
    """`url` is a fresh migrated database."""
    asyncio.run(on_database(url, _prepare))
    with alarms() as logged, open_simulation(url, seed=seed, start=MONDAY, keeps_order=True) as simulation:
        wanderer = OrderWanderer(simulation, rounds=rounds)
        simulation.check_between_steps(partial(_look, wanderer), every=CHECK_EVERY)
        simulation.run(wanderer.wander())
        problems = [*simulation.violations, *wanderer.problems]
    if not problems:
        problems = asyncio.run(on_database(url, partial(_judge, wanderer)))
    return WalkResult(seed, tuple(simulation.trace), (*problems, *logged))


async def _prepare(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    await connection.execute(ORDER_SQL)


async def _look(wanderer: OrderWanderer, connection: asyncpg.Connection[asyncpg.Record]) -> list[str]:
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        committed = await _committed(connection)
        reminded = {number_of(_body_of(row["payload"])) for row in await connection.fetch(_REMEMBERED)}
        return [
            *await find_reminder_violations(connection),
            *_contradictions(committed, reminded, _submitted(wanderer)),
        ]


async def _judge(wanderer: OrderWanderer, connection: asyncpg.Connection[asyncpg.Record]) -> list[str]:
    """At rest."""
    committed = await _committed(connection)
    orders = {row["id"] for row in await connection.fetch("select id from shop_order")}
    executed = wanderer.shop.executed
    return [
        *await _look(wanderer, connection),
        *(f"task {number} was committed and not executed" for number in sorted(committed - set(executed))),
        *(f"task {number} was executed and not committed" for number in sorted(set(executed) - committed)),
        *(
            f"order {number} was answered with {told}, the database knows otherwise"
            for number, told in wanderer.told.items()
            if told is not Told.NOTHING and (told is Told.COMMITTED) != (number in orders)
        ),
    ]


def _contradictions(committed: set[int], reminded: set[int | None], submitted: Counter[int]) -> Iterator[str]:
    for number in sorted(committed - reminded - set(submitted)):
        yield f"task {number} was committed, and is neither a reminder nor in the remote queue"
    for number in sorted(set(submitted) - committed):
        yield f"task {number} is in the remote queue, and was not committed"
    for number in reminded - committed:
        yield f"task {number} is a reminder, and was not committed"
    for number, times in submitted.items():
        if times > 1:
            yield f"task {number} was added {times} times"


def _submitted(wanderer: OrderWanderer) -> Counter[int]:
    """How often the remote queue took each task, whether it is still there or was executed."""
    added = wanderer.shop.cloud.added
    return Counter({number: times for body, times in added.items() if (number := number_of(body)) is not None})


async def _committed(connection: asyncpg.Connection[asyncpg.Record]) -> set[int]:
    return {row[0] for row in await connection.fetch("select unnest(tasks) from shop_order")}


def _body_of(payload: bytes) -> bytes:
    reminder = decode_reminder(payload)
    assert reminder is not None
    body: bytes = CreateTaskRequest.FromString(reminder.create_task_request).task.http_request.body
    return body
