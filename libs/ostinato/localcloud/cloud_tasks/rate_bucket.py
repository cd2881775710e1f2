"""The token bucket that limits the dispatches of a queue. Pure: it is told the time, in seconds."""

from __future__ import annotations


class RateBucket:
    """Holds up to `burst` tokens, begins full, and is refilled with `rate` tokens a second."""

    def __init__(self, rate: float, burst: int, at: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = float(burst)
        self._at = at

    def take(self, at: float) -> bool:
        """One token, if there is one."""
        self._refill(at)
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def seconds_to_next(self, at: float) -> float:
        """Until the next token is there; zero if one is."""
        self._refill(at)
        return max(0.0, (1 - self._tokens) / self._rate)

    def reshape(self, rate: float, burst: int, at: float) -> None:
        """From now on with other limits; what has been saved up beyond them is lost."""
        self._refill(at)
        self._rate, self._burst = rate, burst
        self._tokens = min(self._tokens, float(burst))

    def _refill(self, at: float) -> None:
        gained = max(0.0, at - self._at) * self._rate
        # Rounding must not keep the last token away for another turn.
        self._tokens = min(float(self._burst), round(self._tokens + gained, 9))
        self._at = max(self._at, at)
