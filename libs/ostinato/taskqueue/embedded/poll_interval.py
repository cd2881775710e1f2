"""How long to wait before looking again when nobody woke us. Pure."""

from __future__ import annotations

from ostinato.taskqueue.embedded.pace import NORMAL, Pace

_STAYS_BUSY = 1.0


def next_interval(previous: float, *, since_work: float, listening: bool, pace: Pace = NORMAL) -> float:
    """20 ms while work was seen in the last second, then half as long again each time, up to 2 s (0.3 s without
    wake-ups). All in seconds.
    """
    if since_work < _STAYS_BUSY:
        return pace.busy_poll
    return min(previous * 1.5, pace.idle_poll_listening if listening else pace.idle_poll)
