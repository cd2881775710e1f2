"""Follows the changes of queues that this process claims from: pauses, purges, limits.

The heartbeat brings the sum of all queues' versions; another sum than that of the states in use makes this loop
load them anew. A notification only makes that sooner.
"""

from __future__ import annotations

import asyncio
import logging

from ostinato.clock import Clock
from ostinato.errors import OstinatoError
from ostinato.storage.database import Database
from ostinato.taskqueue.embedded.claim_loop import ClaimLoop
from ostinato.taskqueue.embedded.claimed_tasks import ClaimedTasks
from ostinato.taskqueue.embedded.queue_settings_store import load_states

_log = logging.getLogger(__name__)


class QueueWatch:
    """Nothing is claimed or started before the first load."""

    def __init__(self, db: Database, tasks: ClaimedTasks, claims: ClaimLoop, clock: Clock) -> None:
        self._db = db
        self._tasks = tasks
        self._claims = claims
        self._clock = clock
        self._stale = asyncio.Event()
        self._stale.set()

    def changed(self) -> None:
        self._stale.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._stale.wait()
            self._stale.clear()
            try:
                await self._load()
            except OstinatoError as error:
                _log.warning("the state of queues was not loaded, it is tried again: %s", error)
                self._stale.set()
                await self._clock.sleep(0.2)

    async def _load(self) -> None:
        sent_at = self._clock.monotonic()
        versions, states = await load_states(self._db, self._tasks.queue_ids)
        changed = self._tasks.learn(states)
        # Only now: a heartbeat that sees this sum vouches for the states that are in use.
        self._tasks.lease.learn_versions(versions, sent_at=sent_at)
        if changed:  # what waits in a queue that was paused lies behind the cursors
            self._claims.look_at_everything()
