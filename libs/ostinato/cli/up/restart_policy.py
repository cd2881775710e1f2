"""How long to wait before something that died is started again."""

from __future__ import annotations

from datetime import timedelta

FIRST_DELAY = timedelta(milliseconds=500)
LONGEST_DELAY = timedelta(seconds=30)
# Whoever ran that long is healthy: its next death is the first of a new row.
HEALTHY_AFTER = timedelta(seconds=30)


def deaths_in_a_row(before: int, ran_for: timedelta) -> int:
    """Counting the death after a run of `ran_for`; `before` is the count until then."""
    return 1 if ran_for >= HEALTHY_AFTER else before + 1


def decide_restart_delay(deaths: int) -> timedelta:
    """Doubles with each death in a row, the first of which is 1."""
    return min(FIRST_DELAY * (1 << min(deaths - 1, 10)), LONGEST_DELAY)
