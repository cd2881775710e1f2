"""All that an engine runs for the queue: what its worker claims, and what a remote queue pushes.

With a remote queue the worker goes on: tasks may wait in the database from before the deployment had one.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from ostinato.taskqueue import Worker

if TYPE_CHECKING:  # it needs the extra `cloud`
    from ostinato.taskqueue.cloud_tasks.push_receiver import PushReceiver


@dataclass(frozen=True, slots=True)
class TasksAtWork:
    """`receiver` is None where nothing is pushed."""

    worker: Worker
    receiver: PushReceiver | None = None

    @property
    def running(self) -> int:
        """Tasks whose handler runs now."""
        return self.worker.running + (self.receiver.running if self.receiver else 0)

    async def drain(self, grace: timedelta) -> None:
        """Takes no new tasks; the worker then ends by itself, and what was pushed has ended or comes again."""
        self.worker.drain()
        await (self.receiver.drain(grace.total_seconds()) if self.receiver else asyncio.sleep(0))
