"""Keeps the lease of a process: one small statement each 1.5 s.

In production it runs on a thread with its own event loop and connection, or one handler that blocks the main loop
would lose every lease of the process. It stops beating when the main loop has shown no progress for a minute, so
that a hung process still dies. In a simulation it is an ordinary task.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from ostinato.clock import Clock
from ostinato.errors import OstinatoError
from ostinato.storage.database import Database, DatabaseSettings, connect
from ostinato.storage.transaction import adopt
from ostinato.taskqueue.embedded import worker_store
from ostinato.taskqueue.embedded.lease import Lease
from ostinato.taskqueue.embedded.ready_store import Executor
from ostinato.taskqueue.embedded.worker_store import Beat

_log = logging.getLogger(__name__)
_HUNG_AFTER = 60.0


@dataclass(slots=True)
class MainLoopPulse:
    """When the main loop last ran, on the monotonic clock."""

    at: float


# Called with a beat that asks for something: the lease is lost, workers are dead, or queues have changed.
Report = Callable[[Beat], None]


async def beat_once(executor: Executor, lease: Lease, clock: Clock, report: Report) -> None:
    """One heartbeat, whoever hosts it."""
    sent_at = clock.monotonic()
    beat = await worker_store.beat(executor, lease.worker_id, timedelta(seconds=lease.pace.lease))
    if not beat.alive:
        lease.lost = True
        report(beat)
        return
    lease.renew(sent_at=sent_at, answered_at=clock.monotonic(), db_now=beat.db_now)
    current = lease.confirm_versions(beat.queue_versions, sent_at=sent_at)
    if beat.dead_workers or not current:
        report(beat)


async def beat_in_task(db: Database, lease: Lease, clock: Clock, report: Report) -> None:
    """Beats as a task of the main loop until the lease is lost or the task is cancelled."""
    while not lease.lost:
        try:
            await beat_once(db, lease, clock, report)
        except OstinatoError as error:
            _log.warning("heartbeat failed: %s", error)
        await clock.sleep(lease.pace.beat_every)


class HeartbeatThread:
    """Beats on a thread of its own. `report` is called on the main loop."""

    def __init__(
        self, settings: DatabaseSettings, lease: Lease, clock: Clock, pulse: MainLoopPulse, report: Report
    ) -> None:
        self._settings = settings
        self._lease = lease
        self._clock = clock
        self._pulse = pulse
        self._report = report
        self._main_loop = asyncio.get_running_loop()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ostinato-heartbeat", daemon=True)

    def start(self) -> None:
        self._thread.start()

    async def stop(self) -> None:
        self._stopped.set()
        await asyncio.get_running_loop().run_in_executor(None, self._thread.join, 2 * self._lease.pace.beat_every)

    def _run(self) -> None:
        asyncio.run(self._beat_until_stopped())

    async def _beat_until_stopped(self) -> None:
        while not self._stopped.is_set() and not self._lease.lost:
            try:
                await self._beat_on_one_connection()
            except OstinatoError as error:
                _log.warning("heartbeat failed, reconnecting: %s", error)
                await asyncio.sleep(0.2)

    async def _beat_on_one_connection(self) -> None:
        connection = await connect(self._settings)
        try:
            while not self._stopped.is_set() and not self._lease.lost:
                if self._clock.monotonic() - self._pulse.at > _HUNG_AFTER:
                    _log.error("the main loop has not run for %s s: no heartbeat", _HUNG_AFTER)
                else:
                    async with asyncio.timeout(self._lease.pace.lease):
                        await beat_once(adopt(connection), self._lease, self._clock, self._tell_main_loop)
                await self._pause()
        except TimeoutError:
            _log.warning("heartbeat was not answered, reconnecting")
        finally:
            connection.terminate()

    async def _pause(self) -> None:
        # Short naps, so that stopping the process need not wait for a whole beat.
        for _ in range(10):
            if self._stopped.is_set():
                return
            await asyncio.sleep(self._lease.pace.beat_every / 10)

    def _tell_main_loop(self, beat: Beat) -> None:
        if not self._main_loop.is_closed():
            self._main_loop.call_soon_threadsafe(self._deliver, beat)

    def _deliver(self, beat: Beat) -> None:
        # A beat may be answered after `stop` gave up waiting for it: the next incarnation is not its matter.
        if not self._stopped.is_set():
            self._report(beat)
