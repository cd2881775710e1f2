"""Where a claim starts to look. Pure.

A cursor skips what was claimed before, so that dead rows behind it are not read again. It is only a hint: a
transaction that committed late, or a freed task, may lie behind it. Three tiers find those: 50 ms always, 5 s every
250 ms while there is work (and in every idle poll), everything every 15 s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ostinato.taskqueue.embedded.pace import NORMAL

BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)

_NEAR = timedelta(milliseconds=50)
_LATE_COMMITS = timedelta(seconds=5)
_LATE_COMMITS_EVERY = 0.25


@dataclass(slots=True)
class _Line:
    strand: int
    low: datetime = BEGINNING


class ClaimCursors:
    """One cursor per strand. Times are the database's; `monotonic` only spaces the tiers."""

    def __init__(self, strands: Sequence[int], *, rescue_every: float = NORMAL.rescue_every) -> None:
        self._lines = [_Line(strand) for strand in strands]
        self._rescue_every = rescue_every
        self._late_at = self._rescue_at = float("-inf")

    def windows(self, *, db_now: datetime, monotonic: float, idle: bool) -> list[tuple[int, datetime]]:
        """(strand, look from) in claim order. Advances the tiers' clocks: call once per claim."""
        if monotonic - self._rescue_at >= self._rescue_every:
            self._rescue_at = self._late_at = monotonic
            return [(line.strand, BEGINNING) for line in self._lines]
        if idle or monotonic - self._late_at >= _LATE_COMMITS_EVERY:
            self._late_at = monotonic
            return [(line.strand, min(line.low, db_now - _LATE_COMMITS)) for line in self._lines]
        return [(line.strand, line.low) for line in self._lines]

    def claimed(self, strand: int, *, count: int, quota: int, last_ready_at: datetime | None) -> None:
        """A claim that filled its quota goes on after its last row."""
        line = self._line(strand)
        if count >= quota and last_ready_at is not None:
            line.low = last_ready_at

    def drained(self, strand: int, *, sent_at: datetime) -> None:
        """A claim with room left found no more: whatever commits from now on is newer than `sent_at` less 50 ms."""
        line = self._line(strand)
        line.low = max(line.low, sent_at - _NEAR)

    def rewind(self) -> None:
        """Look at everything next time."""
        self._rescue_at = float("-inf")

    def _line(self, strand: int) -> _Line:
        return next(line for line in self._lines if line.strand == strand)
