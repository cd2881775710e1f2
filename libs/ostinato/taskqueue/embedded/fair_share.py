"""Shares of a lane between those who add to it, so that a flood of one key does not hold up the others. Pure.

Whoever adds more than a burst has the rest put into a sub-queue of floods, chosen by its key; everybody else shares one
sub-queue. Claims serve the sub-queues that hold work in turn, by weight, and give what one leaves to the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from ostinato.taskqueue.embedded.strand import FLOODS, REDELIVERY, SHARED, subqueue_of

BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)

_BURST = 64.0  # tasks of one key that may come at once
_PER_SECOND = 64.0
_DEBT = 64.0  # a key that goes on above the rate stays diverted; it is back in the shared line two seconds after
_FULL_AFTER = (_BURST + _DEBT) / _PER_SECOND
_WEIGHTS = {SHARED: 8, REDELIVERY: 8}  # floods: 1
NO_KEY = 0


def flood_subqueue(key: int) -> int:
    """Where the tasks of a key go that are above its burst."""
    return 1 + (key & 0x7FFFFFFF) % FLOODS


class FloodGate:
    """A token bucket per lane and key, in the memory of whoever adds. Tasks without a key are never diverted."""

    def __init__(self) -> None:
        self._fresh: dict[tuple[int, int], tuple[float, float]] = {}  # (tokens, when)
        self._older: dict[tuple[int, int], tuple[float, float]] = {}
        self._turned_at = float("-inf")

    def admit(self, lane: int, key: int, count: int, *, now: float) -> int:
        """How many of `count` tasks stay in the shared line; `now` in seconds of a clock that never goes back."""
        if key == NO_KEY:
            return count
        self._forget_full_ones(now)
        tokens, at = self._fresh.get((lane, key)) or self._older.get((lane, key)) or (_BURST, now)
        tokens = min(_BURST, tokens + (now - at) * _PER_SECOND)
        self._fresh[lane, key] = (max(-_DEBT, tokens - count), now)
        return max(0, min(count, int(tokens)))

    def _forget_full_ones(self, now: float) -> None:
        """A bucket that nobody touched for so long is full, which is what a missing one is."""
        if now - self._turned_at >= _FULL_AFTER:
            self._older = self._fresh if now - self._turned_at < 2 * _FULL_AFTER else {}
            self._fresh = {}
            self._turned_at = now


@dataclass(slots=True)
class Line:
    """One sub-queue of a lane as its claimer sees it. `low`: where the next claim starts to look."""

    strand: int
    low: datetime = BEGINNING
    live: bool = False  # may hold work
    empty: bool = False  # held none at the last claim, and nobody told of any since; looked at all the same
    looked_back_at: float = float("-inf")  # monotonic: when a claim looked seconds behind `low`
    rescued_at: float = float("-inf")  # when one looked at all of it
    passed: float = 0.0  # how much it was served, by weight: the least served comes first

    @property
    def weight(self) -> int:
        return _WEIGHTS.get(subqueue_of(self.strand), 1)

    def served(self, count: int) -> None:
        self.passed += count / self.weight


def share_out(lines: Iterable[Line], room: int) -> list[tuple[Line, int]]:
    """Live lines of one lane with the most to take from each: the least served first, each at least one.

    The quotas may exceed `room`: whoever claims stops there. A line that seems empty keeps no room from the others.
    """
    turn = sorted((line for line in lines if line.live), key=lambda line: line.passed)
    weights = [line.weight for line in turn if not line.empty]
    if len(weights) < 2:
        return [(line, room) for line in turn]
    share = max(1, room // sum(weights))
    return [(line, min(room, share * line.weight)) for line in turn]


def catch_up(line: Line, others: Sequence[Line]) -> None:
    """A line that is or was empty saves nothing up: it goes on beside the least served of the live ones."""
    least = min((other.passed for other in others if other.live and other is not line), default=line.passed)
    line.passed = max(line.passed, least)
