"""A queue in Cloud Tasks on loopback whose every step may be made to fail, and ways to make it."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import asyncpg

from ostinato.clock import Clock
from ostinato.localcloud.faults import Fault, FaultKind
from ostinato.storage.database import Database, open_database
from ostinato.storage.transaction import Gate
from ostinato.taskqueue import Backend, Dispatcher, open_dispatcher
from ostinato.taskqueue.cloud_tasks.cloud_tasks_queue import CloudTasksQueue, open_cloud_tasks_queue
from ostinato.taskqueue.reminders.refusal_policy import RefusalPolicy
from tests.integration.taskqueue.cloud_tasks.dying_process import told_to
from tests.integration.taskqueue.conftest import until
from tests.integration.taskqueue.contract.conftest import CLASSES, LETTER, letter
from tests.integration.taskqueue.contract.local_cloud import LocalCloud, receiving
from tests.integration.taskqueue.contract.test_adding import Inbox
from tests.integration.taskqueue.reminders.remote_queue import FakeQueue, remaining, sweeper_of

AT_ONCE = RefusalPolicy(spacing=timedelta(0), longest_spacing=timedelta(0), park_after=timedelta(0))


@dataclass
class Rig:
    """A queue in Cloud Tasks on loopback, that refuses for no time before it parks; `inbox` takes what is pushed."""

    db: Database
    cloud: LocalCloud
    remote: CloudTasksQueue
    dispatcher: Dispatcher
    inbox: Inbox

    async def add(self, number: int = 1, *, db: Database | None = None) -> None:
        async with (db or self.db).transaction() as tx:
            await self.dispatcher.add(LETTER, letter(number), tx=tx)

    async def sweep(self) -> None:
        """As if a minute had passed since everything was written."""
        await self.db.execute("update tq_reminder set fresh_until = ostinato_now()")
        await self.sweep_what_is_stale()

    async def sweep_what_is_stale(self) -> None:
        await sweeper_of("distributed", self.db, FakeQueue(), submissions=self.remote.submissions).sweep()

    async def remaining(self) -> int:
        return await remaining(self.db)

    def plan(self, kind: FaultKind, **fault: Any) -> None:
        self.cloud.faults.add(Fault("CreateTask", kind, **fault))

    async def until_asked(self, requests: int = 1) -> None:
        submits = self.remote.submissions.stats.submits
        await until(lambda: sum(sum(each.counts) for each in submits.values()) >= requests)

    async def has_run(self, *numbers: int) -> None:
        """`numbers` have run, each as often as it is given, and nothing else does or will."""
        await self.inbox.has(*numbers)
        await self.sweep()
        assert await self.remaining() == 0
        await until(lambda: not self.cloud.task_names())
        assert sorted(self.inbox.numbers) == sorted(numbers)


@asynccontextmanager
async def open_rig(cloud: LocalCloud, db: Database, *, clock: Clock | None = None) -> AsyncIterator[Rig]:
    inbox = Inbox()
    async with (
        open_cloud_tasks_queue(cloud.settings, db, refusals=AT_ONCE, clock=clock) as remote,
        open_dispatcher(db, classes=CLASSES, backend=Backend.CLOUD_TASKS, remote=remote, clock=clock) as dispatcher,
        receiving(cloud, dispatcher, inbox.handler),
    ):
        yield Rig(db, cloud, remote, dispatcher, inbox)


class At:
    """A gate that calls `act` before or after each step that begins with `step`."""

    def __init__(self, when: str, step: str, act: Callable[[], object]) -> None:
        self._when = when
        self._step = step
        self._act = act

    async def before(self, step: str, _: asyncpg.Connection[asyncpg.Record] | None) -> None:
        self._meet("before", step)

    def after(self, step: str) -> None:
        self._meet("after", step)

    def _meet(self, when: str, step: str) -> None:
        if when == self._when and step.lstrip().startswith(self._step):
            self._act()


def reached_by(rig: Rig, gate: Gate) -> AbstractAsyncContextManager[Database]:
    """The same database, where something happens on the way to it."""
    return open_database(rig.db.settings, gate=gate)


async def killed(rig: Rig, *told: str) -> None:
    """See `dying_process`. Returns when it has died in the way it was told."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.integration.taskqueue.cloud_tasks.dying_process", *told),
        stdin=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(40):
        await process.communicate(told_to(rig.db.settings.url, rig.cloud.settings))
    assert process.returncode == -signal.SIGKILL
