"""A process of a small shop whose tasks wait in Cloud Tasks: it takes orders in transactions, and sweeps."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from typing import Any
from uuid import UUID

from google.protobuf.wrappers_pb2 import Int64Value, UInt64Value

from ostinato.clock import Clock
from ostinato.errors import CommitOutcomeUnknown, Ignore, Unavailable
from ostinato.pb.taskqueue.v1.sweep_pb2 import SweepTask
from ostinato.storage.database import Database, open_database
from ostinato.taskqueue import Backend, Dispatcher, TaskClass, TaskKind, open_dispatcher
from ostinato.taskqueue.cloud_tasks.cloud_tasks_queue import CloudTasksQueue
from ostinato.taskqueue.cloud_tasks.envelope import decode_envelope, decode_payload
from ostinato.taskqueue.cloud_tasks.request_building import handler_deadline
from ostinato.taskqueue.cloud_tasks.task_submitter import TaskSubmitter
from ostinato.taskqueue.reminders.happy_path import open_happy_path
from ostinato.taskqueue.reminders.refusal_policy import RefusalPolicy
from ostinato.taskqueue.reminders.submissions import Submissions
from ostinato.taskqueue.sweeping.distributed_sweeper import DistributedSweeper
from ostinato.taskqueue.sweeping.in_process_sweeper import BatchSizes, InProcessSweeper
from ostinato.taskqueue.sweeping.lessor import DatabaseLessor
from ostinato.taskqueue.sweeping.sweep_class import DispatchedSweepTasks, sweep_class
from ostinato.taskqueue.sweeping.sweep_loop import Sweeper, SweepLoop
from ostinato.taskqueue.sweeping.sweep_options import LESSOR, SweepOptions
from ostinato.taskqueue.sweeping.undeterred_sweeper import UndeterredSweeper
from ostinato.testing.simulated_database import SimulatedProcess
from tests.simulation.remote_cloud import SETTINGS, RemoteChannel, RemoteCloud, client_on
from tests.simulation.world import database_settings

# Few reminders per scan, so that a sweep of dozens needs all its levels.
OPTIONS = SweepOptions(shards=2, tasks_per_scan=4, secondary_scan_shards=4)
PARCEL = TaskClass("parcel", Int64Value, TaskKind.TRANSACTIONAL, "parcels")
# Its queue is not there from the beginning.
GIFT = TaskClass("gift", UInt64Value, TaskKind.TRANSACTIONAL, "gifts")
SWEEP = sweep_class(OPTIONS)

# What the shop remembers of an order is written with its tasks: what is here was committed.
ORDER_SQL = "create table shop_order (id int primary key, tasks bigint[] not null)"
_TAKE = "insert into shop_order (id, tasks) values ($1, $2) on conflict do nothing returning id"
_CALLER: ContextVar[asyncio.Task[Any] | None] = ContextVar("caller", default=None)


class SweepBy(StrEnum):
    """Who sweeps."""

    TASKS = "distributed"
    PROCESSES = "in process"
    TASKS_WITHOUT_QUEUE = "distributed, though the queue of sweeps is missing"


class Told(StrEnum):
    """What who placed an order was told."""

    COMMITTED = "committed"
    ROLLED_BACK = "rolled back"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Order:
    """`tasks` and `gifts` are numbers of tasks; those of `regretted` are added in a savepoint that is rolled back."""

    id: int
    tasks: Sequence[int]
    gifts: Sequence[int] = ()
    regretted: Sequence[int] = ()
    changes_its_mind: bool = False  # all is rolled back in the end


class _ChangedMind(Exception):  # noqa: N818 - an order that somebody takes back is no error
    """An order is rolled back on purpose."""


def number_of(body: bytes) -> int | None:
    """Of a parcel or a gift; None for a task that sweeps."""
    envelope = decode_envelope(body)
    return None if envelope.class_name == SWEEP.name else int(envelope.body)


@dataclass(frozen=True, slots=True)
class Shop:
    """What all processes share. `executed`: how often each task ran."""

    url: str
    cloud: RemoteCloud
    clock: Clock
    policy: RefusalPolicy
    sweep_by: SweepBy
    refuses: bool
    executed: Counter[int] = field(default_factory=Counter)


class Outbox:
    """One process. `spawn` makes a task that is part of it."""

    def __init__(
        self, shop: Shop, gate: SimulatedProcess, db: Database, dispatcher: Dispatcher, distributed: DistributedSweeper
    ) -> None:
        self.gate = gate
        self.open = True
        self._shop = shop
        self._db = db
        self._dispatcher = dispatcher
        self._distributed = distributed
        self._context = copy_context()

    @property
    def serves(self) -> bool:
        return self.open and not self.gate.died.is_set()

    async def take(self, order: Order) -> Told:
        """What a caller from outside hears. Nothing, if the process dies or he is cut off."""
        told: Told | None = await self._inside(lambda: self._answer(order))
        return told or Told.NOTHING

    async def receive(self, body: bytes) -> bool | None:
        """Runs a pushed task; true if it ended well, None if the process is gone before its answer."""
        return await self._inside(lambda: self._run(body))

    async def _inside(self, work: Callable[[], Any]) -> Any:
        task = self._context.copy().run(lambda: asyncio.ensure_future(work()))
        await asyncio.wait([task])
        return None if task.cancelled() else task.result()

    async def _answer(self, order: Order) -> Told:
        _CALLER.set(asyncio.current_task())
        try:
            await self._commit(order)
        except CommitOutcomeUnknown:
            return Told.NOTHING
        except (Unavailable, _ChangedMind):
            return Told.ROLLED_BACK
        return Told.COMMITTED

    async def _commit(self, order: Order) -> None:
        async with self._db.transaction() as tx:
            if not await tx.fetch(_TAKE, order.id, [*order.tasks, *order.gifts]):
                return  # it was committed by an earlier attempt
            await self._dispatcher.add_many(PARCEL, [Int64Value(value=n) for n in order.tasks], tx=tx)
            if order.regretted:
                with suppress(_ChangedMind):
                    async with tx.savepoint():
                        await self._dispatcher.add_many(PARCEL, [Int64Value(value=n) for n in order.regretted], tx=tx)
                        raise _ChangedMind
            await self._dispatcher.add_many(GIFT, [UInt64Value(value=n) for n in order.gifts], tx=tx)
            if order.changes_its_mind:
                raise _ChangedMind

    async def _run(self, body: bytes) -> bool:
        if (number := number_of(body)) is not None:
            self._shop.executed[number] += 1
            return True
        task = decode_payload(decode_envelope(body), SweepTask)
        with suppress(Ignore):  # answered like a success
            await self._distributed.handle(task, time_left=handler_deadline(SWEEP))
        return True


def cancel_caller() -> None:
    """Who asked for what is done now gives up, if it was somebody from outside."""
    if (caller := _CALLER.get()) is not None:
        caller.cancel()


def has_caller() -> bool:
    caller = _CALLER.get()
    return caller is not None and not caller.done()


@asynccontextmanager
async def open_outbox(shop: Shop, gate: SimulatedProcess, random: Random) -> AsyncIterator[Outbox]:
    gate.on_cancel = cancel_caller
    clock = shop.clock
    client = client_on(RemoteChannel(shop.cloud, gate, random, clock, refuses=shop.refuses))
    submitter = TaskSubmitter(client)
    async with open_database(database_settings(shop.url, gate.name), gate=gate) as db:
        submissions = Submissions(db, submitter, clock, policy=shop.policy)
        async with open_happy_path(submissions, clock) as happy_path:
            remote = CloudTasksQueue(
                SETTINGS,
                db=db,
                client=client,
                submissions=submissions,
                submitter=submitter,
                happy_path=happy_path,
                clock=clock,
                looks_after_queues=False,  # one of them is missing on purpose
                new_id=lambda: UUID(int=random.getrandbits(128)),
            )
            async with open_dispatcher(
                db,
                classes=[PARCEL, GIFT, SWEEP],
                clock=clock,
                notify=False,
                backend=Backend.CLOUD_TASKS,
                remote=remote,
            ) as dispatcher:
                distributed = DistributedSweeper(
                    db,
                    submissions,
                    DispatchedSweepTasks(dispatcher, SWEEP),
                    clock,
                    lessors={LESSOR: DatabaseLessor(db, clock)},
                    options=OPTIONS,
                )
                in_process = InProcessSweeper(
                    db, submissions, clock, options=OPTIONS, sizes=BatchSizes(batch=8, at_once=2), random=random
                )
                sweeper: Sweeper = in_process
                if shop.sweep_by is not SweepBy.PROCESSES:
                    sweeper = UndeterredSweeper(distributed, in_process)
                outbox = Outbox(shop, gate, db, dispatcher, distributed)
                sweeping = asyncio.create_task(SweepLoop(db, sweeper, clock).run())
                try:
                    yield outbox
                finally:
                    outbox.open = False
                    sweeping.cancel()
                    await asyncio.wait([sweeping])
                    if not sweeping.cancelled():
                        sweeping.result()
