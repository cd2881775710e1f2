"""Waiting between attempts: doubling, capped, spread."""

from __future__ import annotations

from datetime import timedelta

_ENOUGH_DOUBLINGS = 40


def doubling_backoff(attempt: int, *, minimum: timedelta, maximum: timedelta, jitter: float = 0.0) -> timedelta:
    """The wait after failed attempt `attempt` (1-based), always within [minimum, maximum].

    `jitter` in [0, 1] is the caller's random draw: 0 waits the whole time, 1 half of it.
    """
    doublings = min(max(0, attempt - 1), _ENOUGH_DOUBLINGS)
    longest = min(maximum, _double(minimum, doublings, maximum))
    shortest = max(minimum, longest / 2)
    return longest - (longest - shortest) * jitter


def _double(minimum: timedelta, doublings: int, maximum: timedelta) -> timedelta:
    """`minimum * 2**doublings`, or `maximum` where that is less; a timedelta would overflow first."""
    return minimum * 2**doublings if minimum < maximum / 2**doublings else maximum
