"""What may go wrong between a simulated process and its database."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Protocol

from ostinato.errors import CommitOutcomeUnknown, OstinatoError, Unavailable


class Fault(StrEnum):
    """What becomes of one step."""

    REFUSED = "REFUSED"  # the server refuses it; the connection stays
    CUT_BEFORE = "CUT_BEFORE"  # the connection breaks, the step does not reach the server
    CUT_AFTER = "CUT_AFTER"  # it happens, the connection breaks before the answer
    UNHEARD = "UNHEARD"  # it happens, an error is told instead of the answer; the connection stays
    ROLLED_BACK = "ROLLED_BACK"  # of a COMMIT: the server refuses it and rolls back
    LOST = "LOST"  # likewise, and nobody hears of it
    CANCELLED = "CANCELLED"  # whoever asked for it gives up at this moment: it may happen or not
    STALL = "STALL"  # the process stands still for longer than its lease, then goes on with this very step
    DEATH_BEFORE = "DEATH_BEFORE"  # the process dies
    DEATH_AFTER = "DEATH_AFTER"

    @property
    def happens(self) -> bool:
        """The step reaches the server."""
        return self in (Fault.CUT_AFTER, Fault.UNHEARD, Fault.DEATH_AFTER)

    @property
    def rolls_back(self) -> bool:
        """By the server's own decision, on a connection that stays."""
        return self in (Fault.ROLLED_BACK, Fault.LOST)

    @property
    def cuts(self) -> bool:
        return self in (Fault.CUT_BEFORE, Fault.CUT_AFTER)

    @property
    def kills(self) -> bool:
        return self in (Fault.DEATH_BEFORE, Fault.DEATH_AFTER)

    def error(self, step: str) -> OstinatoError:
        """What the process is told, as storage would tell it."""
        if step == "COMMIT" and self not in (Fault.REFUSED, Fault.ROLLED_BACK):
            return CommitOutcomeUnknown(f"simulated: {self}")
        return Unavailable(f"simulated: {self}")


class Faults(Protocol):
    def choose(self, step: str, commit: int) -> Fault | None:
        """For a step about to be made; `commit` counts the commits of its process, 0 if it is none."""
        ...


@dataclass(frozen=True, slots=True)
class CrashPlan:
    """Dies at the `number`-th commit (a COMMIT, or a statement on its own): directly before it, or directly after."""

    number: int
    after: bool

    def choose(self, step: str, commit: int) -> Fault | None:  # noqa: ARG002
        if commit != self.number:
            return None
        return Fault.DEATH_AFTER if self.after else Fault.DEATH_BEFORE


class RandomFaults:
    """Each step fails with `rate`, each commit a few times as often, because that is where it hurts.

    A statement on its own that ends or claims tasks fails more often still: whoever stalls there, or hears no answer,
    works on with knowledge that is outdated.
    """

    def __init__(self, random: Random, *, rate: float, kinds: tuple[Fault, ...]) -> None:
        self.active = True
        self._random = random
        self._rate = rate
        self._kinds = kinds

    def choose(self, step: str, commit: int) -> Fault | None:
        if not self.active or step == "ROLLBACK":
            return None
        if self._random.random() >= self._rate * _weight(step, commit):
            return None
        return self._random.choice(self._kinds)


def _weight(step: str, commit: int) -> int:
    if not commit:
        return 1
    if step != "COMMIT" and "claimed_by" in step:
        return 30
    return 8 if "tq_claim" in step else 4
