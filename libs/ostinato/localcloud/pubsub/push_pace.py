"""How fast a push endpoint is called: more at a time with each success, less and after a pause with each failure. Pure.

Slow start as Pub/Sub does it: one at a time first, twice as many after each window that went well; after failures a
pause of 100 ms that doubles up to a minute. Pauses are left to the retry policy where a subscription has one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

from ostinato.scheduling.backoff import doubling_backoff

LARGEST_WINDOW = 256
_SHORTEST_PAUSE = timedelta(milliseconds=100)
_LONGEST_PAUSE = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class PushPace:
    """`window` pushes may be under way at a time; `failures` came one after another."""

    window: int = 1
    failures: int = 0

    def after_success(self) -> PushPace:
        """A window of successes, each of which adds one, doubles it."""
        return PushPace(min(self.window + 1, LARGEST_WINDOW), 0)

    def after_failure(self) -> PushPace:
        return replace(self, window=max(1, self.window // 2), failures=self.failures + 1)

    def pause(self) -> timedelta:
        """Before the next push begins."""
        if not self.failures:
            return timedelta()
        return doubling_backoff(self.failures, minimum=_SHORTEST_PAUSE, maximum=_LONGEST_PAUSE)
