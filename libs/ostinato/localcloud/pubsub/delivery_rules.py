"""What a subscription says about delivery. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from ostinato.scheduling.backoff import doubling_backoff


@dataclass(frozen=True, slots=True)
class RetryBackoff:
    """Doubles from `minimum` to `maximum` with each failed delivery of a message."""

    minimum: timedelta
    maximum: timedelta


@dataclass(frozen=True, slots=True)
class DeliveryRules:
    """Without `backoff` a message is available again at once; without `most_attempts` it is tried for ever."""

    ack_deadline: timedelta
    retention: timedelta
    ordered: bool = False
    exactly_once: bool = False
    retain_acked: bool = False
    backoff: RetryBackoff | None = None
    most_attempts: int | None = None

    def wait_after(self, failures: int) -> timedelta:
        """Before the delivery that follows this many failed ones."""
        if self.backoff is None:
            return timedelta()
        return doubling_backoff(failures, minimum=self.backoff.minimum, maximum=self.backoff.maximum)

    def is_exhausted(self, failures: int) -> bool:
        return self.most_attempts is not None and failures >= self.most_attempts
