"""How much of one queue this process should hold, free runners plus what it ends in 50 ms; whether it may start it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol

from ostinato.taskqueue.embedded.lease import Lease
from ostinato.taskqueue.embedded.queue_state import QueueState
from ostinato.taskqueue.outcome import Verdict

_PREFETCH_SECONDS = 0.05
_LEAST_PREFETCH = 8
_MOST_PREFETCH = 1000
_FOLLOWS_WITHIN = 1.0  # seconds that the tasks of the next batch may wait for the one that runs
_FIRST_PAUSE = timedelta(seconds=1)
_LONGEST_PAUSE = timedelta(seconds=60)


class Load(Protocol):
    @property
    def free(self) -> int: ...

    @property
    def buffered(self) -> int: ...

    @property
    def in_batches(self) -> int:
        """Tasks that run together with others; 0 where each runs by itself."""
        ...


@dataclass(slots=True)
class QueueLoad:
    """The service rate is measured over spans of at least 10 ms, so that a burst of quick tasks fills the buffer."""

    executors: list[Load] = field(default_factory=list)
    state: QueueState | None = None  # not loaded yet: nothing is claimed or started
    seen_open_at: float = float("-inf")  # monotonic: a claim sent then found that the queue was not paused
    _next_pause: timedelta = _FIRST_PAUSE
    _ended: int = 0
    _span_from: float = 0.0
    _rate: float = 0.0
    _paused_until: float = float("-inf")
    _open_until: float = float("-inf")

    def room(self, monotonic: float) -> int:
        """How many more tasks to claim now."""
        if self.state is None or self.state.paused or monotonic < self._paused_until:
            return 0
        self._measure(monotonic)
        free = sum(executor.free for executor in self.executors)
        buffered = sum(executor.buffered for executor in self.executors)
        return max(0, free + self._prefetch(self.state) - buffered)

    def _prefetch(self, state: QueueState) -> int:
        """Without a free runner prefetching only hides tasks from other processes, unless they end quickly. What a
        limit granted is to start now, not later together with the next grant.
        """
        if state.is_limited:
            return 0
        soon = int(self._rate * _PREFETCH_SECONDS)
        least = _LEAST_PREFETCH if soon else 0
        return min(_MOST_PREFETCH, max(least, soon, self._next_batch()))

    def _next_batch(self) -> int:
        """A batch may be twice as large as the one before. By the rate alone, batches that take longer than the
        prefetch looks ahead would be followed by ever smaller ones, and a backlog by eight tasks at a time.
        """
        running = sum(executor.in_batches for executor in self.executors)
        return min(2 * running, int(self._rate * _FOLLOWS_WITHIN))

    def may_start(self, monotonic: float, lease: Lease) -> bool:
        """Nothing of a paused queue, and nothing on old knowledge: a process that stood still looks first."""
        if monotonic < self._open_until:
            return True
        if self.state is None or self.state.paused:
            return False
        self._open_until = max(self.seen_open_at, lease.versions_seen_at) + lease.pace.pause_within
        return monotonic < self._open_until

    def learn(self, state: QueueState) -> None:
        self.state = state
        self._open_until = float("-inf")

    def ended(self, monotonic: float, verdict: Verdict) -> None:
        self._ended += 1
        if verdict is Verdict.OVERLOADED:
            if monotonic >= self._paused_until:
                self._paused_until = monotonic + self._next_pause.total_seconds()
                self._next_pause = min(_LONGEST_PAUSE, self._next_pause * 2)
        elif verdict is Verdict.DONE:
            self._next_pause = _FIRST_PAUSE

    def overload_left(self, monotonic: float) -> timedelta:
        """How much longer nothing of the queue is claimed because a task said Overloaded."""
        return timedelta(seconds=max(0.0, self._paused_until - monotonic))

    def _measure(self, monotonic: float) -> None:
        span = monotonic - self._span_from
        if span >= 0.01:
            self._rate = 0.5 * self._rate + 0.5 * self._ended / span
            self._ended, self._span_from = 0, monotonic
