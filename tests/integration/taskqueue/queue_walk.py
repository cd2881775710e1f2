"""One random walk through everything that can happen to tasks, on a real database beside a model in Python.

What was committed is delivered, what was rolled back never is; a claim is held by one process; a fence that is not the
current one writes nothing; names, pauses and purges mean what they say. Time is a row that the walk moves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Coroutine, Sequence
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, TypeVar

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from ostinato.storage.database import DatabaseSettings, open_database
from ostinato.storage.transaction import Row
from ostinato.taskqueue import open_dispatcher
from ostinato.taskqueue.administration import pause_queue, purge_queue, resume_queue
from ostinato.taskqueue.embedded import name_store, queue_settings_store, ready_store, worker_store
from ostinato.taskqueue.embedded.fair_share import BEGINNING
from ostinato.taskqueue.embedded.ready_store import DeadRow, Fence, RetryRow
from ostinato.taskqueue.embedded.strand import REDELIVERY, strand_of
from ostinato.taskqueue.task_flags import crashes_of
from ostinato.taskqueue.task_name import name_of
from tests.integration.taskqueue.conftest import CLASSES, LETTER, letter
from tests.integration.taskqueue.queue_model import Place, QueueModel

T = TypeVar("T")
START = datetime(2030, 1, 1, tzinfo=UTC)
PAST = START - timedelta(days=1)
KEYS = ("a", "b")
DELAYS = (timedelta(0), timedelta(0), timedelta(seconds=30), timedelta(hours=2))
# Weighted by repetition: unless many tasks are claimed and ended, nothing else is of interest.
EVENTS = (
    *("add", "add_in_transaction", "add_in_transaction", "add_named", "delete"),
    *("requeue", "requeue", "requeue", "pause", "purge", "cut_purge", "forget"),
    *("claim",) * 6,
    *("end",) * 10,
    *("move_in", "move_in", "move_in", "die", "die", "outlive", "lose_answer"),
)
ENDS = ("done", "retry", "dead", "dead", "release", "release", "roll back")
_WHAT_IS_STORED = """
select 'ready' as place, id, claimed_by, null as at from tq_ready union all
select 'later', id, 0, due_at from tq_later union all
select 'dead', id, 0, null from tq_dead union all
select name_hash::text, task_id, 0, nullif(expires_at, 'infinity') from tq_name
"""


class UndoneError(Exception):
    """Rolls back what it is raised in."""


class QueueWalk(RuleBasedStateMachine):
    """Each step acts on the database and on the model; the invariant compares them."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.loop = asyncio.Runner()
        self.resources = AsyncExitStack()
        self.model = QueueModel(START)
        self.url = url
        self.strands: list[int] = []
        self.next_worker = 0
        # (worker, task, fence) of every claim, also of those that are no longer good for anything.
        self.fences: list[tuple[int, int, Fence]] = []

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run(work)

    @initialize()
    def open(self) -> None:
        self.run(self._open())

    async def _open(self) -> None:
        self.db = await self.resources.enter_async_context(open_database(DatabaseSettings(self.url, pool_size=3)))
        self.queue = await self.resources.enter_async_context(open_dispatcher(self.db, classes=CLASSES, notify=False))
        await self.db.execute("truncate tq_ready, tq_later, tq_dead, tq_name, tq_worker, testing_clock")
        await self.db.execute("update tq_queue set paused_at = null, purge_before = null")
        await self.db.execute("insert into testing_clock (now) values ($1)", START)
        queue_id = self.queue.queue_ids["mail"]
        self.strands = [strand_of(queue_id, subqueue=REDELIVERY), strand_of(queue_id)]

    def teardown(self) -> None:
        try:
            if self.strands:
                self.run(self._deliver_everything())
        finally:
            self.run(self.resources.aclose())
            self.loop.close()

    @rule(seed=st.integers(0, 1_000_000))
    def something_happens(self, seed: int) -> None:
        """The seed alone says what, so that hypothesis can leave out steps before it."""
        self.run(self._act(Random(seed)))

    async def _act(self, dice: Random) -> None:
        await self._tick(timedelta(seconds=dice.choice((0.001, 0.001, 1, 60, 4000))))
        if self.model.paused and dice.random() < 0.5:
            await self._administer("pause")
        if len(self.model.workers) < 2:
            await self._join()
        if not self.model.at(Place.READY):  # nothing could happen
            await self._add_named(list(KEYS), timedelta(0))
            await self._add(1, timedelta(0))
        worker_id = dice.choice(list(self.model.workers))
        match dice.choice(EVENTS):
            case "add":
                await self._add(dice.randint(1, 3), dice.choice(DELAYS))
            case "add_in_transaction":
                await self._add_in_transaction(dice)
            case "add_named":
                await self._add_named(dice.sample(KEYS, dice.randint(1, 2)), dice.choice(DELAYS))
            case "delete":
                await self._delete(dice.sample(KEYS, 1))
            case "claim":
                await self._claim(worker_id, dice.randint(1, 5))
            case "end":
                await self._end_one(dice)
            case "move_in":
                await self._move_in(worker_id, dice.randint(0, 3))
            case "die":
                await self._die(worker_id, dice.choice(("both", "lease ends", "reaping")))
            case "outlive":
                await self._outlive(worker_id)
            case "lose_answer":
                await self._lose_answer(worker_id, known=dice.randint(0, 2))
            case administration:
                await self._administer(administration)

    async def _tick(self, step: timedelta) -> None:
        """No two steps happen at one moment."""
        self.model.now += step
        await self.db.execute("update testing_clock set now = $1", self.model.now)

    # What people do.

    async def _add(self, count: int, delay: timedelta) -> None:
        for task_id in await self.queue.add_many(LETTER, [letter(n) for n in range(count)], delay=delay):
            self.model.add(task_id, delay)

    async def _add_in_transaction(self, dice: Random) -> None:
        delay, commits, part_is_kept = dice.choice(DELAYS), dice.random() < 0.7, dice.random() < 0.5
        with suppress(UndoneError):
            async with self.db.transaction() as tx:
                first = await self.queue.add(LETTER, letter(1), tx=tx, delay=delay)
                with suppress(UndoneError):
                    async with tx.savepoint():
                        second = await self.queue.add(LETTER, letter(2), tx=tx)
                        if not part_is_kept:
                            raise UndoneError
                if not commits:
                    raise UndoneError
            self.model.add(first, delay)
            if part_is_kept:
                self.model.add(second, timedelta(0))

    async def _add_named(self, keys: list[str], delay: timedelta) -> None:
        ids = await self.queue.add_many(LETTER, [letter(3)] * len(keys), dedup_keys=keys, delay=delay)
        for key, task_id in zip(keys, ids, strict=True):
            assert (task_id is not None) == self.model.key_is_free(key)
            if task_id is not None:
                self.model.add(task_id, delay, key)

    async def _delete(self, keys: list[str]) -> None:
        assert await self.queue.delete(LETTER, keys) == sum([self.model.end_name(key) for key in keys])

    async def _administer(self, what: str) -> None:
        match what:
            case "purge":
                assert await purge_queue(self.db, "mail") == self.model.purge()
            case "cut_purge":
                assert await queue_settings_store.mark_purged(self.db, "mail") is not None
                self.model.purged_at = self.model.now
            case "requeue":
                dead = self.model.at(Place.DEAD)
                assert await self.queue.requeue_dead_letters([task.id for task in dead]) == len(dead)
                for task in dead:
                    self.model.requeue(task)
            case "forget":
                assert await name_store.forget_expired_names(self.db, 100) == self.model.forget_free_names()
            case _:
                self.model.paused = not self.model.paused
                await (pause_queue if self.model.paused else resume_queue)(self.db, "mail")

    # What processes do.

    async def _join(self) -> int:
        self.next_worker += 1
        # Longer than any walk: leases end by `_end_lease` only.
        assert await worker_store.register_worker(self.db, self.next_worker, timedelta(days=900), "walk")
        self.model.workers[self.next_worker] = True
        return self.next_worker

    async def _die(self, worker_id: int, event: str) -> None:
        """A lease that holds is not taken away by a reaping."""
        if event != "reaping":
            await self.db.execute("update tq_worker set expires_at = $1 where worker_id = $2", PAST, worker_id)
            self.model.workers[worker_id] = False
        if event != "lease ends":
            expected = 0 if self.model.workers[worker_id] else self.model.reap(worker_id)
            assert await worker_store.reap(self.db, [worker_id]) == expected

    async def _outlive(self, worker_id: int) -> None:
        """A process has lost its lease and lives: nothing is charged to what it held."""
        held = self.model.held_by(worker_id)
        assert await worker_store.give_back(self.db, [worker_id]) == len(held)
        for task in held:
            self.model.free(task)
        del self.model.workers[worker_id]

    async def _claim(self, worker_id: int, room: int) -> int:
        may_claim = self.model.workers[worker_id] and not self.model.paused
        expected = min(room, len(self.model.at(Place.READY))) if may_claim else 0
        rows = await ready_store.claim(self.db, worker_id, [(s, BEGINNING, room) for s in self.strands], room)
        assert len(rows) == expected
        await self._hold(worker_id, rows)
        return len(rows)

    async def _move_in(self, worker_id: int, room: int) -> None:
        moving = []
        for task in self.model.at(Place.LATER):
            if task.due_at <= self.model.now and self.model.is_purged_while_later(task):
                self.model.end(task)
            elif task.due_at <= self.model.now:
                moving.append(task)
        rows = await ready_store.move_in(self.db, worker_id, since=BEGINNING, strands=self.strands, room=room, most=100)
        assert {row["id"] for row in rows} == {task.id for task in moving}
        born_claimed = [row for row in rows if row["claimed_by"]]
        may_claim = self.model.workers[worker_id] and not self.model.paused
        soonest = sorted(moving, key=lambda task: (task.due_at, task.id))[: room if may_claim else 0]
        assert {row["id"] for row in born_claimed} == {task.id for task in soonest if task.key is None}
        for task in moving:
            self.model.free(task)
        await self._hold(worker_id, born_claimed)

    async def _hold(self, worker_id: int, rows: Sequence[Row]) -> None:
        """As a process does: it drops what was deleted or purged, and keeps the fences of the rest."""
        assert {row["id"] for row in rows} <= self.model.tasks.keys()
        for row in rows:
            task, fence = self.model.tasks[row["id"]], (row["version"], row["id"])
            assert crashes_of(row["flags"]) == task.crashes
            self.model.claim(task, worker_id, fence)
            self.fences.append((worker_id, task.id, fence))
        held = [self.model.tasks[row["id"]] for row in rows]
        alive = await name_store.alive_tasks(self.db, [task.id for task in held])
        assert alive == {task.id for task in held if task.key is not None and not self.model.is_deleted(task)}
        for task in held:
            if self.model.is_deleted(task) or self.model.is_purged(task):
                assert task.fence is not None
                assert await ready_store.complete_named(self.db, worker_id, [task.fence]) == 1
                self.model.end(task)

    async def _end_one(self, dice: Random) -> None:
        """By whoever holds it, or by somebody who once did: best while somebody else, or he himself, does again."""
        held = [claim for claim in self.fences if self.model.tasks[claim[1]].place is Place.CLAIMED]
        stale = dice.random() < 0.4
        if claims := [claim for claim in held if self._is_current(*claim) != stale] or self.fences:
            await self._end(*dice.choice(claims), dice.choice(ENDS), dice.choice(DELAYS))

    def _is_current(self, worker_id: int, task_id: int, fence: Fence) -> bool:
        task = self.model.tasks[task_id]
        return task.holder == worker_id and task.fence == fence

    async def _end(self, worker_id: int, task_id: int, fence: Fence, end: str, delay: timedelta) -> None:
        assert await self._write_end(worker_id, fence, end, delay) == int(self._is_current(worker_id, task_id, fence))
        if not self._is_current(worker_id, task_id, fence):
            return
        task = self.model.tasks[task_id]
        match end:
            case "done":
                self.model.end(task)
            case "retry":
                self.model.retry(task, delay)
            case "dead":
                self.model.end(task, Place.DEAD)
            case "release":
                self.model.free(task)

    async def _write_end(self, worker_id: int, fence: Fence, end: str, delay: timedelta) -> int:
        match end:
            case "done":
                return await ready_store.complete_named(self.db, worker_id, [fence])
            case "retry":
                return await ready_store.retry(self.db, worker_id, [RetryRow(fence, delay, 1, None)])
            case "dead":
                return await ready_store.bury(self.db, worker_id, [DeadRow(fence, 1, "tired")])
            case "release":
                return await ready_store.release(self.db, worker_id, [fence])
        count = -1
        with suppress(UndoneError):
            async with self.db.transaction() as tx:
                count = await ready_store.complete_named(tx, worker_id, [fence])
                raise UndoneError
        return count

    async def _lose_answer(self, worker_id: int, *, known: int) -> None:
        """What a process holds without knowing is freed."""
        held = self.model.held_by(worker_id)
        known_ids = [task.id for task in held[:known]]
        assert await worker_store.free_unknown(self.db, worker_id, known_ids) == len(held[known:])
        for task in held[known:]:
            self.model.free(task)
        assert await worker_store.free_orphans(self.db) == 0

    # What must hold.

    @precondition(lambda self: self.strands)
    @invariant()
    def the_tables_hold_what_the_model_says(self) -> None:
        self.run(self._compare())

    async def _compare(self) -> None:
        rows = await self.db.fetch(_WHAT_IS_STORED)
        expected = {
            (str(task.place), task.id, task.holder, task.due_at if task.place is Place.LATER else None)
            for task in self.model.tasks.values()
            if task.place is not Place.ENDED
        }
        for key, name in self.model.names.items():
            expected.add((str(name_of("", LETTER.name, key)), name.task_id, 0, name.free_at))
        assert {("claimed" if row["claimed_by"] else row["place"], *list(row)[1:]) for row in rows} == expected

    async def _deliver_everything(self) -> None:
        """Whatever happened before: with one worker left and nothing in its way, everything is delivered and ends."""
        if self.model.paused:
            await self._administer("pause")
        for worker_id in list(self.model.workers):
            await self._die(worker_id, "both")
        worker_id = await self._join()
        await self._tick(timedelta(hours=3))
        await self._move_in(worker_id, 0)
        while await self._claim(worker_id, 5):
            for task in self.model.held_by(worker_id):
                assert task.fence is not None
                await self._end(worker_id, task.id, task.fence, "done", timedelta(0))
        await self._compare()
        assert {task.place for task in self.model.tasks.values()} <= {Place.ENDED, Place.DEAD}


def walk(url: str, *, walks: int, phases: Collection[Phase] = (Phase.generate, Phase.shrink)) -> None:
    class WalkHere(QueueWalk):
        def __init__(self) -> None:
            super().__init__(url)

    run_state_machine_as_test(WalkHere, settings=settings(max_examples=walks, stateful_step_count=50, phases=phases))
