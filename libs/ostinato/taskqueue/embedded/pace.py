"""How often the loops of a worker look, and how long its lease holds. Seconds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pace:
    """The defaults are the promise: a dead process's tasks run again within 10 s, an idle worker costs about three
    statements a second. A simulation that lives through weeks slows all of it down.
    """

    lease: float = 6.0
    beat_every: float = 1.5
    busy_poll: float = 0.02
    idle_poll_listening: float = 2.0
    idle_poll: float = 0.3  # without wake-ups from other processes
    look_later_every: float = 1.0
    rescue_every: float = 15.0

    @property
    def pause_within(self) -> float:
        """Nothing starts this long after its queue was paused: knowledge that is older must be renewed first."""
        return self.beat_every + 0.5


NORMAL = Pace()
