"""What `flags` of a stored task say, and how deaths of workers are charged to what they held. Pure.

Nobody knows which task killed a process, and most deaths are no task's fault. So the first two deaths are charged to
all that the dead worker held. What was there both times is a suspect: it runs alone, and is marked before it does. From
then on only a death under that mark is charged to it: then it is a culprit.
"""

from __future__ import annotations

NAMED = 1  # it has a row in tq_name
ALONE = 2  # a suspect that runs: the death of its worker is charged to it
CRASH = 256  # the bits from here on count the deaths charged to it in a row
CRASH_SHIFT = 8

SUSPECT_FROM = 2  # deaths
CULPRIT_FROM = 3
MOST_CRASHES = 127  # counted; more would not fit


def crashes_of(flags: int) -> int:
    """Deaths charged to the task since it last ran to an end."""
    return flags >> CRASH_SHIFT
