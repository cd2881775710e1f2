"""A process that adds a letter or sweeps, and is killed (-9) by itself at the step that it was told.

`python -m tests.integration.taskqueue.cloud_tasks.dying_process add|sweep before|after STEP N`: the N-th step that
begins so, of those that reach the database once it is ready. STEP is COMMIT, or the beginning of a statement. The first
line of its input is JSON: the URL of the database, and the settings of Cloud Tasks.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from dataclasses import asdict
from typing import Any

import asyncpg

from ostinato.clock import SystemClock
from ostinato.config.cloud_tasks import CloudTasksSettings
from ostinato.storage.database import DatabaseSettings, open_database
from ostinato.taskqueue import Backend, open_dispatcher
from ostinato.taskqueue.cloud_tasks.cloud_tasks_queue import open_cloud_tasks_queue
from ostinato.taskqueue.sweeping.sweep_options import SweepOptions
from tests.integration.taskqueue.contract.conftest import CLASSES, LETTER, letter
from tests.integration.taskqueue.reminders.remote_queue import WholeDistributedSweep


class Death:
    """A gate, once it is armed: lets one of those steps through at a time, and with the last one the process ends."""

    def __init__(self, when: str, step: str, number: int) -> None:
        self.armed = False
        self._when = when
        self._step = step
        self._left = number
        self._turn = asyncio.Lock()

    async def before(self, step: str, _: asyncpg.Connection[asyncpg.Record] | None) -> None:
        if self._is_meant(step):
            await self._turn.acquire()
            self._meet("before")

    def after(self, step: str) -> None:
        if self._is_meant(step):
            self._meet("after")
            self._turn.release()

    def _is_meant(self, step: str) -> bool:
        return self.armed and step.lstrip().startswith(self._step)

    def _meet(self, when: str) -> None:
        if when == self._when:
            self._left -= 1
            if not self._left:
                os.kill(os.getpid(), signal.SIGKILL)


def told_to(url: str, settings: CloudTasksSettings) -> bytes:
    """The first line of the input."""
    chosen = {name: value for name, value in asdict(settings).items() if isinstance(value, str)}
    return json.dumps([url, chosen]).encode() + b"\n"


async def main() -> None:
    work, when, step, number = sys.argv[1:]
    url, chosen = json.loads(sys.stdin.readline())
    settings: Any = CloudTasksSettings(**chosen, prepare_queues=False)
    death = Death(when, step, int(number))
    async with (
        open_database(DatabaseSettings(url), gate=death) as db,
        open_cloud_tasks_queue(settings, db) as remote,
        open_dispatcher(db, classes=CLASSES, backend=Backend.CLOUD_TASKS, remote=remote) as dispatcher,
    ):
        death.armed = True
        if work == "add":
            async with db.transaction() as tx:
                await dispatcher.add(LETTER, letter(1), tx=tx)
        else:
            await WholeDistributedSweep(db, remote.submissions, SweepOptions(shards=1), SystemClock()).sweep()


if __name__ == "__main__":
    asyncio.run(main())
