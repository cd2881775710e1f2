"""Notes reports whose token was rejected, so that ExplainJob can tell why a run does not end.

Whoever reports is answered without waiting for this. What is noted is added up in memory and written in the background:
a flood of bad tokens costs one small statement a second. A token itself is never kept.
"""

from __future__ import annotations

import asyncio
import collections
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from prometheus_client import CollectorRegistry, Counter

from ostinato.auth.notification_token import TokenFault, TokenRejected, TokenRejection
from ostinato.clock import Clock
from ostinato.errors import OstinatoError
from ostinato.jobstore.rejected_report_store import record_rejected_reports
from ostinato.scheduling.backoff import doubling_backoff
from ostinato.storage.database import Database

_log = logging.getLogger(__name__)

# Runs times faults. Tokens that anybody can make up take half of it at most.
MAX_HELD = 1_000
WRITE_EVERY = timedelta(seconds=1)
_LONGEST_PAUSE = timedelta(seconds=30)
# Of one write: a process that ends does not wait longer for a database that is away.
PATIENCE = timedelta(seconds=5)


class RejectedReports:
    """Run it beside the servers; `drain` after they have stopped."""

    def __init__(
        self,
        db: Database,
        *,
        clock: Clock,
        registry: CollectorRegistry,
        every: timedelta = WRITE_EVERY,
        patience: timedelta = PATIENCE,
        max_held: int = MAX_HELD,
    ) -> None:
        self._db = db
        self._clock = clock
        self._every = every
        self._patience = patience
        self._max_held = max_held
        self._held: collections.Counter[TokenRejection] = collections.Counter()
        self._occupied = asyncio.Event()
        self._writing: asyncio.Task[bool] | None = None
        self._noted = Counter(
            "ostinato_rejected_reports",
            "Reports that were rejected for their token, by what was wrong with it.",
            ("fault", "outcome"),
            registry=registry,
        )

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Notes the rejection that the block raises, which goes on to the caller as it is."""
        try:
            yield
        except TokenRejected as rejected:
            if rejected.rejection is not None:
                self._note(rejected.rejection)
            raise

    async def run(self) -> None:
        """For ever: writes soon after something was noted, and then at most once in `every`."""
        failures = 0
        while True:
            await self._occupied.wait()
            # It goes on when this is cancelled: nobody could tell whether half a write happened.
            self._writing = asyncio.create_task(self._try_to_write())
            failures = 0 if await asyncio.shield(self._writing) else failures + 1
            pause = doubling_backoff(failures, minimum=self._every, maximum=max(self._every, _LONGEST_PAUSE))
            await self._clock.sleep(pause.total_seconds())

    async def drain(self) -> None:
        """Ends what is being written, and writes what is still held, if the database takes it. `run` has ended."""
        if self._writing is not None:
            await self._writing
        if self._held:
            await self._try_to_write()

    def _note(self, rejection: TokenRejection) -> None:
        room = self._max_held // 2 if rejection.fault is TokenFault.WRONG_KEY else self._max_held
        taken = rejection in self._held or len(self._held) < room
        self._noted.labels(rejection.fault.name, "NOTED" if taken else "DROPPED").inc()
        if taken:
            self._held[rejection] += 1
            self._occupied.set()

    async def _try_to_write(self) -> bool:
        """What was not written stays held. Where only the answer was lost it is counted twice, which does no harm."""
        written = self._held.copy()
        try:
            async with asyncio.timeout(self._patience.total_seconds()):
                await self._db.transact(lambda tx: record_rejected_reports(tx, written))
        except (OstinatoError, TimeoutError) as error:
            _log.warning("rejected reports were not recorded: %s", str(error) or "no answer in time")
            return False
        self._held -= written  # only what came meanwhile is left
        if not self._held:
            self._occupied.clear()
        return True
