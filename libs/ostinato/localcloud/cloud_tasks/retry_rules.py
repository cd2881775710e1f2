"""When a task that failed is tried again, with Cloud Tasks' meaning of RetryConfig. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

UNLIMITED = -1


@dataclass(frozen=True, slots=True)
class RetryRules:
    """The defaults are what Cloud Tasks gives to a queue that asks for nothing.

    `max_attempts` counts the first one. A `max_retry_duration` of zero is no limit.
    """

    max_attempts: int = 100
    max_retry_duration: timedelta = timedelta()
    min_backoff: timedelta = timedelta(milliseconds=100)
    max_backoff: timedelta = timedelta(hours=1)
    max_doublings: int = 16

    def backoff(self, failures: int) -> timedelta:
        """After `failures` (≥ 1): doubles `max_doublings` times, then grows by the last step, up to `max_backoff`."""
        most = self.max_backoff.total_seconds()
        doublings = min(failures - 1, self.max_doublings)
        # As floats, and never more than 2 to the 64th: a timedelta would overflow before it is cut.
        doubled = min(most, self.min_backoff.total_seconds() * 2.0 ** min(doublings, 64))
        return min(self.max_backoff, timedelta(seconds=min(most, doubled * (failures - doublings))))

    def gives_up(self, attempts: int, since_first: timedelta) -> bool:
        """Both limits have to be reached, as far as they are set; without any, retention is the limit."""
        if self.max_attempts == UNLIMITED:
            return bool(self.max_retry_duration) and since_first >= self.max_retry_duration
        return attempts >= self.max_attempts and since_first >= self.max_retry_duration
