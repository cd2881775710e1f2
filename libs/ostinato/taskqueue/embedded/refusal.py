"""What becomes of a task that this build can't handle: unknown class, or bytes that are not its payload. Pure.

A newer process may know it, so it is retried for an hour after it was due, then it is a dead letter.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

PATIENCE = timedelta(hours=1)
_LONGEST = timedelta(minutes=5)
_SHORTEST = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Refusal:
    """`give_up`, or again after `delay` with `refused_since` kept in its header."""

    give_up: bool
    delay: timedelta
    refused_since: datetime


def decide_refusal(*, eta: datetime, refused_since: datetime | None, now: datetime) -> Refusal:
    since = refused_since or min(eta, now)
    waited = now - since
    delay = min(_LONGEST, max(_SHORTEST, waited / 4))
    return Refusal(give_up=waited >= PATIENCE, delay=delay, refused_since=since)
