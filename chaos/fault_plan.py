"""What goes wrong and when: two endless rows of faults that follow from a seed alone. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from random import Random


class ServiceFault(StrEnum):
    """What happens to a process. FREEZE outlasts its lease; JOIN and LEAVE are about engines beyond the first two."""

    KILL = "killed"
    TERMINATE = "asked to end"
    FREEZE = "frozen past its lease"
    JOIN = "further engine started"
    LEAVE = "further engine left for good"


class DatabaseFault(StrEnum):
    """What happens to PostgreSQL."""

    KILL = "server killed"
    IMMEDIATE = "server stopped at once"
    FAST = "server restarted"
    KILL_BACKEND = "a session's process killed"
    CUT_OFF = "all sessions terminated"


@dataclass(frozen=True, slots=True)
class PlannedFault:
    """`after` seconds since the one before. `choice` in [0, 1) picks the victim, `lasts` seconds it stays away."""

    after: float
    kind: ServiceFault | DatabaseFault
    choice: float
    lasts: float


_SERVICE_WEIGHTS = {
    ServiceFault.KILL: 10,
    ServiceFault.TERMINATE: 3,
    ServiceFault.FREEZE: 2,
    ServiceFault.JOIN: 2,
    ServiceFault.LEAVE: 2,
}
_DATABASE_WEIGHTS = {
    DatabaseFault.KILL: 4,
    DatabaseFault.IMMEDIATE: 2,
    DatabaseFault.FAST: 3,
    DatabaseFault.KILL_BACKEND: 2,
    DatabaseFault.CUT_OFF: 2,
}
# The lease of an engine is 6 s.
_FROZEN = (7.0, 10.0)
_DOWN = (0.2, 1.5)
_DATABASE_DOWN = (0.0, 2.5)


def service_faults(seed: int) -> Iterator[PlannedFault]:
    """One each 2 to 5 s."""
    random = Random(f"services {seed}")
    kinds, weights = list(_SERVICE_WEIGHTS), list(_SERVICE_WEIGHTS.values())
    while True:
        kind = random.choices(kinds, weights)[0]
        lasts = _FROZEN if kind is ServiceFault.FREEZE else _DOWN
        yield PlannedFault(random.uniform(2, 5), kind, random.random(), random.uniform(*lasts))


def database_faults(seed: int) -> Iterator[PlannedFault]:
    """One each 10 to 20 s."""
    random = Random(f"database {seed}")
    kinds, weights = list(_DATABASE_WEIGHTS), list(_DATABASE_WEIGHTS.values())
    while True:
        kind = random.choices(kinds, weights)[0]
        yield PlannedFault(random.uniform(10, 20), kind, random.random(), random.uniform(*_DATABASE_DOWN))
