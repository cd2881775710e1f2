"""How much of one queue this process should hold: its free runners, plus what it ends in 50 ms."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol

from ostinato.taskqueue.outcome import Verdict

_PREFETCH_SECONDS = 0.05
_LEAST_PREFETCH = 8
_MOST_PREFETCH = 1000
_FIRST_PAUSE = timedelta(seconds=1)
_LONGEST_PAUSE = timedelta(seconds=60)


class Load(Protocol):
    @property
    def free(self) -> int: ...

    @property
    def buffered(self) -> int: ...


@dataclass(slots=True)
class QueueLoad:
    """The service rate is measured over spans of at least 10 ms, so that a burst of quick tasks fills the buffer."""

    executors: list[Load] = field(default_factory=list)
    overload_pause: timedelta = _FIRST_PAUSE
    _ended: int = 0
    _span_from: float = 0.0
    _rate: float = 0.0
    _paused_until: float = float("-inf")

    def room(self, monotonic: float) -> int:
        """How many more tasks to claim now."""
        if monotonic < self._paused_until:
            return 0
        self._measure(monotonic)
        prefetch = min(_MOST_PREFETCH, max(_LEAST_PREFETCH, int(self._rate * _PREFETCH_SECONDS)))
        free = sum(executor.free for executor in self.executors)
        buffered = sum(executor.buffered for executor in self.executors)
        # Without a free runner prefetching only hides tasks from other processes, unless they end quickly.
        return max(0, free + (prefetch if self._rate * _PREFETCH_SECONDS >= 1 else 0) - buffered)

    def ended(self, monotonic: float, verdict: Verdict) -> None:
        self._ended += 1
        if verdict is Verdict.OVERLOADED:
            if monotonic >= self._paused_until:
                self._paused_until = monotonic + self.overload_pause.total_seconds()
                self.overload_pause = min(_LONGEST_PAUSE, self.overload_pause * 2)
        elif verdict is Verdict.DONE:
            self.overload_pause = _FIRST_PAUSE

    def _measure(self, monotonic: float) -> None:
        span = monotonic - self._span_from
        if span >= 0.01:
            self._rate = 0.5 * self._rate + 0.5 * self._ended / span
            self._ended, self._span_from = 0, monotonic
