"""One reader of the database for everybody who watches an invocation here: two statements per look, for all of them.

A watcher asks for what is new at the place it has reached, and asks again when its client has taken that. So a slow
client makes nobody wait and nothing pile up, and without watchers nothing is asked.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta

from prometheus_client import CollectorRegistry, Counter, Gauge

from ostinato.clock import Clock
from ostinato.errors import OstinatoError, ResourceExhausted, Unavailable
from ostinato.jobstore.watch_store import WatchNews, WatchPlace, load_news
from ostinato.storage.database import Database

_log = logging.getLogger(__name__)

# Half of the calls that a process serves at once, so that others still get through.
MAX_WATCHES = 500
LOOK_EVERY = timedelta(milliseconds=200)
# Watchers that come in a bunch look together.
_GATHERING = 0.02
_FULL_RETRY_AFTER = timedelta(seconds=10)
# Of one look, and of the database being away until watchers are told.
PATIENCE = timedelta(seconds=5)
_PLACES_PER_LOOK = 100
_Futures = set["asyncio.Future[WatchNews]"]


class WatchMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self.watches = Gauge("ostinato_api_watches", "Invocations being watched.", registry=registry)
        self.looks = Counter("ostinato_api_watch_looks", "Looks at all watched invocations.", registry=registry)


class WatchLoop:
    """Run it beside the server. `every`: how long news waits at most, apart from the time that a look takes."""

    def __init__(
        self,
        db: Database,
        *,
        clock: Clock,
        metrics: WatchMetrics,
        every: timedelta = LOOK_EVERY,
        patience: timedelta = PATIENCE,
        max_watches: int = MAX_WATCHES,
    ) -> None:
        self._db = db
        self._clock = clock
        self._metrics = metrics
        self._every = every
        self._patience = patience
        self._max_watches = max_watches
        self._watches = 0
        self._waiting: dict[WatchPlace, _Futures] = {}
        self._occupied = asyncio.Event()
        self._eager = asyncio.Event()
        self._failing_since: float | None = None

    @contextmanager
    def seat(self) -> Iterator[None]:
        """For the time of one watch. Raises ResourceExhausted when all are taken."""
        if self._watches >= self._max_watches:
            raise ResourceExhausted(
                f"{self._max_watches} invocations are being watched already", retry_after=_FULL_RETRY_AFTER
            )
        self._watches += 1
        self._metrics.watches.set(self._watches)
        try:
            yield
        finally:
            self._watches -= 1
            self._metrics.watches.set(self._watches)

    async def next_news(self, place: WatchPlace) -> WatchNews:
        """Returns when there is something new at `place`. Raises Unavailable when that can't be found out for long."""
        future: asyncio.Future[WatchNews] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(place, set()).add(future)
        self._occupied.set()
        if place.is_eager:
            self._eager.set()
        try:
            return await future
        finally:
            self._leave(place, future)

    async def run(self) -> None:
        while True:
            await self._occupied.wait()
            await self._pause()
            await self.look()

    async def look(self) -> None:
        """Tells the news to whoever waits for them."""
        self._metrics.looks.inc()
        places = list(self._waiting)
        for start in range(0, len(places), _PLACES_PER_LOOK):
            try:
                async with asyncio.timeout(self._patience.total_seconds()):
                    news = await load_news(self._db, places[start : start + _PLACES_PER_LOOK])
            except (OstinatoError, TimeoutError) as error:
                self._bear(error)
                return
            self._failing_since = None
            self._tell(news)

    async def _pause(self) -> None:
        """Until the next look; a short one when somebody knows that there is something to read."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._every.total_seconds()):
                await self._eager.wait()
        self._eager.clear()
        await self._clock.sleep(_GATHERING)

    def _tell(self, news: Sequence[WatchNews]) -> None:
        for each in news:
            for future in self._waiting.pop(each.place, ()):
                if not future.done():
                    future.set_result(each)
        self._note_whether_occupied()

    def _bear(self, error: Exception) -> None:
        """The database is away: looks again, but not for ever."""
        now = self._clock.monotonic()
        if self._failing_since is None:
            self._failing_since = now
            _log.warning("watched invocations were not looked at: %s", str(error) or "no answer in time")
        if now - self._failing_since < self._patience.total_seconds():
            return
        self._failing_since = None
        waiting, self._waiting = self._waiting, {}
        for future in (future for futures in waiting.values() for future in futures):
            if not future.done():
                future.set_exception(Unavailable("watched invocations can't be read"))
        self._note_whether_occupied()

    def _leave(self, place: WatchPlace, future: asyncio.Future[WatchNews]) -> None:
        futures = self._waiting.get(place)
        if futures is None:
            return
        futures.discard(future)
        if not futures:
            del self._waiting[place]
            self._note_whether_occupied()

    def _note_whether_occupied(self) -> None:
        if not self._waiting:
            self._occupied.clear()
