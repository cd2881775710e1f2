"""How a queue holds back when its target says that it has too much to do (429 or 503). Pure.

Cloud Tasks documents that it slows such a queue down and considers Retry-After, not by how much. Here each such
answer stops the queue, for 1 s at first and twice as long each time up to a minute, until one task succeeds.
"""

from __future__ import annotations

from datetime import datetime, timedelta

CONGESTED = frozenset({429, 503})

_SHORTEST = timedelta(seconds=1)
_LONGEST = timedelta(minutes=1)


class Congestion:
    """Of one queue. Answers to what was sent before it was stopped don't stop it for longer."""

    def __init__(self) -> None:
        self._next = _SHORTEST
        self._until: datetime | None = None

    def held_until(self, now: datetime) -> datetime | None:
        """When the queue may dispatch again; None if it may."""
        return self._until if self._until is not None and self._until > now else None

    def succeeded(self) -> None:
        """Ends neither a hold nor what a target asked for, but begins the doubling anew."""
        self._next = _SHORTEST

    def pushed_back(self, sent_at: datetime, now: datetime, retry_after: timedelta | None) -> None:
        asked = now + retry_after if retry_after is not None else now
        if self._until is not None and sent_at < self._until:
            self._until = max(self._until, asked)
            return
        self._until = max(now + self._next, asked)
        self._next = min(_LONGEST, self._next * 2)
