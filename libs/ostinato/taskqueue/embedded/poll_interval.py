"""How long to wait before looking again when nobody woke us. Pure."""

from __future__ import annotations

BUSY = 0.02
_MOST_LISTENING = 1.0
_MOST_POLLING = 0.3
_STAYS_BUSY = 1.0


def next_interval(previous: float, *, since_work: float, listening: bool) -> float:
    """20 ms while work was seen in the last second, then half as long again each time, up to 1 s (0.3 s without
    wake-ups). All in seconds.
    """
    if since_work < _STAYS_BUSY:
        return BUSY
    return min(previous * 1.5, _MOST_LISTENING if listening else _MOST_POLLING)
