"""One life of a worker: from taking a lease to losing it or giving it back.

It claims, runs, completes and moves in under one worker id. When the lease is lost everything claimed under it is
forgotten at once (the fence rejects what still ends), and the worker begins a new incarnation.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from ostinato.clock import Clock
from ostinato.errors import OstinatoError, Unavailable
from ostinato.storage.database import Database
from ostinato.taskqueue.embedded import name_store, worker_store
from ostinato.taskqueue.embedded.claim_loop import ClaimLoop
from ostinato.taskqueue.embedded.claimed_tasks import ClaimedTasks
from ostinato.taskqueue.embedded.later_loop import LaterLoop
from ostinato.taskqueue.embedded.limited_claims import TellOthers
from ostinato.taskqueue.embedded.lost_claims import LostClaims
from ostinato.taskqueue.embedded.queue_watch import QueueWatch
from ostinato.taskqueue.embedded.worker_stats import WorkerStats

_log = logging.getLogger(__name__)
_MOST_NAMES = 1000  # forgotten by one statement
_LONGEST_PAUSE = 120.0  # seconds between two rescues
_GIVE_BACK_AGAIN = 0.2


class Incarnation:
    """Built by Worker, which runs its loops and ends it: by `begin_drain` and `finish_drain`, or by `abandon`."""

    def __init__(
        self, db: Database, tasks: ClaimedTasks, *, clock: Clock, stats: WorkerStats, tell_others: TellOthers
    ) -> None:
        self.lease = tasks.lease
        self.tasks = tasks
        self.claims = ClaimLoop(db, tasks, clock, tell_others=tell_others)
        self.later = LaterLoop(db, tasks, self.claims, clock, tell_others=tell_others)
        self.watch = QueueWatch(db, tasks, self.claims, clock)
        self.lost_claims = LostClaims(
            tasks.claiming, self._free_unknown, clock, statement_timeout=db.settings.statement_timeout
        )
        self._db = db
        self._clock = clock
        self._stats = stats

    async def reap(self, dead_workers: Sequence[int]) -> None:
        """Frees what dead processes had claimed. Every process that saw them tries; one wins."""
        try:
            freed = await worker_store.reap(self._db, dead_workers)
        except OstinatoError as error:
            _log.warning("reaping failed, the next heartbeat tries again: %s", error)
            return
        if freed:
            self._stats.reaped += freed
            _log.warning("freed %d tasks of dead workers %s", freed, list(dead_workers))
            self.claims.look_at_everything()

    async def give_back(self, outlived: list[int]) -> None:
        """Frees what this process held under leases that it lost, and empties the list.

        It did not die of these tasks, so nothing is charged to them: once the database is back after a while, every
        process frees its own, before others would take it for dead.
        """
        while outlived:
            try:
                freed = await worker_store.give_back(self._db, outlived)
            except OstinatoError as error:
                _log.warning("what was held under a lost lease is not given back yet: %s", error)
                await self._clock.sleep(_GIVE_BACK_AGAIN)
                continue
            outlived.clear()
            self._note_rescued(freed)

    async def rescue_loop(self) -> None:
        """Frees rows whose owner is gone, and rows of ours that we never heard of."""
        pause = self.lease.pace.rescue_every
        while not self.tasks.draining and not self.lease.lost:
            await self._clock.sleep(pause)
            started = self._clock.monotonic()
            try:
                self._note_rescued(await worker_store.free_orphans(self._db))
                await self._free_unknown()
                while await name_store.forget_expired_names(self._db, _MOST_NAMES) == _MOST_NAMES:
                    continue
            except OstinatoError as error:
                _log.warning("rescue failed, it is tried again: %s", error)
                continue
            # It reads the whole ready table: at most one part in a hundred of the time. But one slow round, with the
            # database away in the middle of it, must not leave tasks without an owner for an hour.
            pause = max(self.lease.pace.rescue_every, min(_LONGEST_PAUSE, 100 * (self._clock.monotonic() - started)))

    async def _free_unknown(self) -> None:
        async with self.tasks.claiming:
            with self.tasks.expected.closed():
                freed = await worker_store.free_unknown(self._db, self.lease.worker_id, self.tasks.known_ids)
        self._note_rescued(freed)

    def _note_rescued(self, freed: int) -> None:
        if freed:
            self._stats.rescued += freed
            _log.warning("rescued %d tasks without an owner", freed)
            self.claims.look_at_everything()

    def begin_drain(self) -> None:
        """Claims no more; what is claimed but not started is released. May be called again."""
        self.tasks.draining = True
        self.claims.wake()
        self.later.wake()
        self.tasks.release_unstarted()

    async def finish_drain(self, grace: float) -> None:
        """Waits for what runs, at most `grace` seconds; interrupts and releases the rest; gives the lease back.

        A database that is away holds this up no longer than the lease: what ends after it is rejected anyhow.
        """
        reporting = asyncio.ensure_future(self._report_ends())
        try:
            until = self._clock.monotonic() + grace
            while self.tasks.running and self._clock.monotonic() < until:
                await self._clock.sleep(0.02)
        finally:
            reporting.cancel()
            await asyncio.gather(reporting, return_exceptions=True)
        await self.tasks.interrupt()
        await self.tasks.writer.flush(while_=self.tasks.may_start)
        if not self.tasks.may_start():
            raise Unavailable("it ended during the drain")
        try:
            async with asyncio.timeout(self.lease.pace.lease):
                await worker_store.free_unknown(self._db, self.lease.worker_id, [])
                await worker_store.delete_worker(self._db, self.lease.worker_id)
        except TimeoutError as error:
            raise Unavailable("the database does not answer") from error

    async def _report_ends(self) -> None:
        """Others may use what ends here under a ceiling, although nothing is claimed here any more."""
        while True:
            try:
                await self.claims.limited.report()
            except OstinatoError as error:
                _log.warning("what ended under a ceiling is not reported yet: %s", error)
            await self._clock.sleep(0.05)

    async def abandon(self) -> None:
        """The lease is lost."""
        self.lease.lost = True
        await self.tasks.abandon()
