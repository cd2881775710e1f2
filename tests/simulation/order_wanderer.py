"""Who takes a random walk through orders: sixteen at a time, again and again, while processes die, stall and begin,
and three of ten steps to the database and the remote queue fail. Then faults stop, and all has to come to rest.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import timedelta
from itertools import count
from random import Random
from typing import Any

from ostinato.errors import OstinatoError
from ostinato.localcloud.faults import Fault as PushFault
from ostinato.localcloud.faults import FaultKind, FaultPlan
from ostinato.storage.database import open_database
from ostinato.taskqueue.reminders.parked_store import list_parked, requeue_parked
from ostinato.taskqueue.reminders.refusal_policy import RefusalPolicy
from ostinato.testing.simulated_database import SimulatedProcess
from ostinato.testing.simulation import Life, Simulation
from tests.simulation.order_faults import OrderFaults
from tests.simulation.outbox import SWEEP, Order, Outbox, Shop, SweepBy, Told, open_outbox
from tests.simulation.remote_cloud import RemoteCloud, open_remote_cloud
from tests.simulation.world import database_settings

AT_ONCE = 16
ROUNDS = 32
_PAUSES = (0.0, 0.01, 1.0, 10.0, 20.0)  # longer where there are fewer rounds: sweeps are to see faults too
_PROCESSES = 4
_SWEEP_BY = (SweepBy.PROCESSES, SweepBy.TASKS, SweepBy.TASKS_WITHOUT_QUEUE, SweepBy.TASKS)  # by the seed
_MOST_ATTEMPTS = 3
_LAST_ORDERS = 40  # tasks that the last processes leave behind: more than a sweep finds without looking further
# What is left over is stale a minute after the faults' end, its section free, and swept within two turns; then a task
# that a dying process had claimed is pushed again.
LONGEST_REST = 60 + 60 + 2 * 15 + 15
_STALL = 70.0
# Of what is refused until somebody helps, which takes an hour by default.
_GIFT_POLICY = RefusalPolicy(timedelta(seconds=5), timedelta(seconds=20), park_after=timedelta(seconds=60))


class OrderWanderer:
    """`problems` is what must not be; `told` what callers heard of their orders in the end."""

    def __init__(self, simulation: Simulation, *, rounds: int = ROUNDS) -> None:
        self.problems: list[str] = []
        self.told: dict[int, Told] = {}
        self.orders: dict[int, Order] = {}
        self._simulation = simulation
        self._clock = simulation.clock
        self._random = Random(f"orders {simulation.seed}")
        self._rounds = rounds
        self.sweep_by = _SWEEP_BY[simulation.seed % len(_SWEEP_BY)]
        # Either some tasks are refused until somebody helps, or any may be refused now and then.
        self.has_gifts = self._random.random() < 0.4
        self._faults: list[OrderFaults] = []
        self._lives: dict[Life, asyncio.Task[None]] = {}
        self._outboxes: list[Outbox] = []
        self._starting: set[asyncio.Task[None]] = set()
        self._numbers = count(1)
        self._ending = False
        self._stalls: list[asyncio.Task[None]] = []

    async def wander(self) -> None:
        gate = self._simulation.new_process("outside")
        faults = FaultPlan(self._simulation.seed)
        for kind in (FaultKind.REFUSED, FaultKind.ANSWER_LOST, FaultKind.DUPLICATED):
            faults.add(PushFault("dispatch", kind, rate=0.1))
        async with (
            open_database(database_settings(self._simulation.url, gate.name), gate=gate) as self._db,
            open_remote_cloud(self._deliver, self._clock, faults) as cloud,
        ):
            self.shop = self._new_shop(cloud)
            await cloud.create_queue("parcels")
            if self.sweep_by is not SweepBy.TASKS_WITHOUT_QUEUE:
                await cloud.create_queue(SWEEP.queue)
            try:
                await self._walk()
                faults.clear()
                await self._come_to_rest(cloud)
            finally:
                await self._end()

    def _new_shop(self, cloud: RemoteCloud) -> Shop:
        return Shop(
            url=self._simulation.url,
            cloud=cloud,
            clock=self._clock,
            policy=_GIFT_POLICY if self.has_gifts else RefusalPolicy(),
            sweep_by=self.sweep_by,
            refuses=not self.has_gifts,
        )

    # -- orders ---------------------------------------------------------------------------------------------------

    async def _walk(self) -> None:
        for _ in range(self._rounds):
            await asyncio.gather(*(self._order() for _ in range(AT_ONCE)))
            if self._simulation.violations or self.problems:
                return
            await self._meddle()
            await self._clock.sleep(self._random.choice(_PAUSES) * ROUNDS / self._rounds)

    async def _order(self) -> None:
        """Placed again where nobody said that it was taken, but not for ever."""
        order = self._new_order()
        for _ in range(self._random.randint(1, _MOST_ATTEMPTS)):
            outbox = await self._choose_outbox()
            told = await outbox.take(order)
            if told is Told.COMMITTED:
                self.told[order.id] = told
                return
            # What was left open by an attempt of which nothing was heard stays open.
            if self.told.get(order.id) is not Told.NOTHING:
                self.told[order.id] = told
            if order.changes_its_mind and told is Told.ROLLED_BACK:
                return

    def _new_order(self) -> Order:
        random = self._random
        order = Order(
            id=len(self.orders) + 1,
            tasks=[next(self._numbers) for _ in range(random.choice((1, 1, 1, 2, 3)))],
            gifts=[next(self._numbers)] if self.has_gifts and random.random() < 0.05 else (),
            regretted=[next(self._numbers)] if random.random() < 0.1 else (),
            changes_its_mind=random.random() < 0.1,
        )
        self.orders[order.id] = order
        return order

    # -- processes ------------------------------------------------------------------------------------------------

    async def _choose_outbox(self) -> Outbox:
        while True:
            self._start_missing()
            if serving := [outbox for outbox in self._outboxes if outbox.serves]:
                return self._random.choice(serving)
            await self._clock.sleep(0.1)

    def _start_missing(self) -> None:
        serving = sum(outbox.serves for outbox in self._outboxes)
        for _ in range(_PROCESSES - serving - len(self._starting)):
            starting = asyncio.create_task(self._start())
            self._starting.add(starting)
            starting.add_done_callback(self._starting.discard)

    async def _start(self) -> None:
        faults = OrderFaults(Random(f"faults {self._simulation.seed} {len(self._faults)}"))
        faults.active = not self._ending
        self._faults.append(faults)
        try:
            life = await self._simulation.begin("outbox", self._open, faults=faults)
        except OstinatoError:
            return  # it gave up at its start; somebody starts another one
        self._lives[life] = asyncio.create_task(self._bury_when_dead(life))

    @asynccontextmanager
    async def _open(self, gate: SimulatedProcess, random: Random) -> Any:
        async with open_outbox(self.shop, gate, random) as outbox:
            self._outboxes.append(outbox)
            try:
                yield
            finally:
                self._outboxes.remove(outbox)

    async def _bury_when_dead(self, life: Life) -> None:
        """At once: a connection of the dead would hold its locks."""
        assert life.task is not None
        died = asyncio.ensure_future(life.process.died.wait())
        await asyncio.wait([life.task, died], return_when=asyncio.FIRST_COMPLETED)
        died.cancel()
        if not life.process.died.is_set() and (error := life.task.exception()) is not None:
            self.problems.append(f"{life.process.name} ended by itself: {error!r}")
        await self._simulation.bury(life)
        del self._lives[life]

    async def _meddle(self) -> None:
        """Between two rounds a process may be killed, stall for longer than anything is fresh, or be ended gently."""
        living = [life for life in self._lives if not life.process.died.is_set() and not life.process.stalled]
        if not living:
            return
        life = self._random.choice(living)
        chance = self._random.random()
        if chance < 0.1:
            life.process.die()
        elif chance < 0.15:
            self._stalls.append(asyncio.create_task(self._simulation.stall(life, _STALL)))
        elif chance < 0.2:
            life.request_end()

    async def _deliver(self, body: bytes) -> bool | None:
        serving = [outbox for outbox in self._outboxes if outbox.serves]
        return await self._random.choice(serving).receive(body) if serving else None

    async def _end(self) -> None:
        self._ending = True
        while self._lives or self._starting:
            for life in self._lives:
                life.process.die()
            await asyncio.wait([*self._lives.values(), *self._starting])
            await asyncio.sleep(0)

    # -- the end --------------------------------------------------------------------------------------------------

    async def _come_to_rest(self, cloud: RemoteCloud) -> None:
        """First a crash of all leaves much behind. Then everything that happens, happens within a bounded time."""
        if self._simulation.violations or self.problems:
            return
        for faults in self._faults:
            faults.active = False
        self._ending = True
        await asyncio.gather(*self._stalls)
        await self._crash_with_much_behind()
        if not await self._rests(LONGEST_REST + await self._longest_wait()):
            return
        if self.has_gifts:
            await self._help_gifts(cloud)
        await self._see_that_it_is_quick()

    async def _crash_with_much_behind(self) -> None:
        outbox = await self._choose_outbox()
        order = Order(len(self.orders) + 1, [next(self._numbers) for _ in range(_LAST_ORDERS)])
        self.orders[order.id] = order
        self.told[order.id] = await outbox.take(order)
        for life in list(self._lives):
            life.process.die()
        while self._lives:
            await asyncio.wait(list(self._lives.values()))

    async def _rests(self, seconds: float) -> bool:
        """Whether no reminder is left after so long."""
        until = self._clock.monotonic() + seconds
        while await self._count("tq_reminder"):
            if self._clock.monotonic() > until:
                rows = await self._db.fetch("select id, fresh_until, next_try_at, last_error from tq_reminder")
                self.problems += [f"a reminder is left after {seconds:g} s without faults: {dict(row)}" for row in rows]
                return False
            self._start_missing()
            await self._clock.sleep(1.0)
        return True

    async def _longest_wait(self) -> float:
        """Until the last reminder that was refused is tried again, or all gifts are parked."""
        if self.has_gifts:
            return (_GIFT_POLICY.park_after + 2 * _GIFT_POLICY.longest_spacing).total_seconds()
        wait: float = await self._db.fetchval(
            "select extract(epoch from greatest('0', max(next_try_at) - ostinato_now()))::float from tq_reminder "
            "where next_try_at > '-infinity'"
        )
        return wait

    async def _help_gifts(self, cloud: RemoteCloud) -> None:
        """What was refused to the end waits as a dead letter; once its queue is there, it is sent on demand."""
        orders = await self._db.fetch("select id from shop_order")
        expected = sum(len(self.orders[row["id"]].gifts) for row in orders)
        parked = await list_parked(self._db, limit=10_000)
        if len(parked) != expected or any(each.task_class != "gift" for each in parked):
            self.problems.append(f"{len(parked)} tasks are parked, {expected} gifts were committed: {parked}")
            return
        await cloud.create_queue("gifts")
        await requeue_parked(self._db, [each.id for each in parked])
        await self._rests(LONGEST_REST)

    async def _see_that_it_is_quick(self) -> None:
        """Without faults, sweeps have nothing to do."""
        await asyncio.gather(*(self._order_in_peace() for _ in range(AT_ONCE)))
        await self._clock.sleep(10.0)
        if left := await self._count("tq_reminder"):
            self.problems.append(f"{left} reminders are left 10 s after a commit without faults")
        if parked := await self._count("tq_parked_reminder"):
            self.problems.append(f"{parked} tasks are parked")
        if await self._db.fetchval("select count(*) from tq_sweep_lease where expires_at > ostinato_now()"):
            self.problems.append("somebody has a lease although nobody sweeps")
        await self._clock.sleep(60.0)

    async def _order_in_peace(self) -> None:
        order = self._new_order()
        outbox = await self._choose_outbox()
        self.told[order.id] = await outbox.take(order)
        wanted = Told.ROLLED_BACK if order.changes_its_mind else Told.COMMITTED
        if self.told[order.id] is not wanted:
            self.problems.append(f"order {order.id} was answered with {self.told[order.id]} although nothing failed")

    async def _count(self, table: str) -> int:
        rows: int = await self._db.fetchval(f"select count(*) from {table}")
        return rows
