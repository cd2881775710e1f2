"""What shall go wrong in the local clouds: a plan that every call and every delivery consults.

Faults are scripted (`skip`, `times`) or drawn from a seeded chance (`rate`); the same plan asked in the same order
answers the same. Nothing goes wrong unless somebody asked for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from random import Random

EVERY_METHOD = "*"


class FaultKind(StrEnum):
    """What becomes of one call, or of one delivery."""

    REFUSED = "REFUSED"  # nothing happens; the caller is told `code`. A delivery does not reach its target
    SLOW = "SLOW"  # it happens after `delay`
    ANSWER_LOST = "ANSWER_LOST"  # it happens, but the caller is told `code`. A delivery counts as unanswered
    DUPLICATED = "DUPLICATED"  # it happens twice; the caller is told of the first time


@dataclass(frozen=True, slots=True)
class Fault:
    """Befalls the calls of `method`: the short name of an RPC, a delivery such as `dispatch`, or `*` for each.

    The first `skip` of them are spared, then each is hit with the chance `rate`, until `times` were hit (absent:
    for ever). `code` is the name of a gRPC status.
    """

    method: str
    kind: FaultKind
    code: str = "UNAVAILABLE"
    delay: timedelta = timedelta()
    rate: float = 1.0
    skip: int = 0
    times: int | None = None


@dataclass(frozen=True, slots=True)
class Fate:
    """What one call has to do: wait, fail or happen `copies` times, then fail or answer. Codes are names or None."""

    delay: timedelta = timedelta()
    refused: str | None = None
    answer_lost: str | None = None
    copies: int = 1


UNHARMED = Fate()


@dataclass(slots=True)
class PlannedFault:
    """A fault with what it saw and did so far."""

    fault: Fault
    seen: int = 0
    hits: int = 0

    def concerns(self, method: str) -> bool:
        return self.fault.method in (EVERY_METHOD, method)

    def strikes(self, random: Random) -> bool:
        """For one call that it concerns."""
        self.seen += 1
        if self.seen <= self.fault.skip or self.hits == self.fault.times:
            return False
        if random.random() >= self.fault.rate:
            return False
        self.hits += 1
        return True


class FaultPlan:
    """All faults of a local cloud. Every one that concerns a call is asked; what several of them want adds up."""

    def __init__(self, seed: int = 0) -> None:
        self._random = Random(seed)
        self._planned: list[PlannedFault] = []

    def add(self, fault: Fault) -> None:
        self._planned.append(PlannedFault(fault))

    def clear(self) -> None:
        """From now on nothing goes wrong."""
        self._planned.clear()

    def reseed(self, seed: int) -> None:
        self._random.seed(seed)

    def planned(self) -> tuple[PlannedFault, ...]:
        return tuple(self._planned)

    def choose(self, method: str) -> Fate:
        """For one call of `method` that is about to be made."""
        if not self._planned:
            return UNHARMED
        return _fate_of(list(self._striking(method)))

    def _striking(self, method: str) -> Iterator[Fault]:
        for planned in self._planned:
            if planned.concerns(method) and planned.strikes(self._random):
                yield planned.fault


def _fate_of(faults: list[Fault]) -> Fate:
    return Fate(
        delay=sum((fault.delay for fault in faults if fault.kind is FaultKind.SLOW), timedelta()),
        refused=_first_code(faults, FaultKind.REFUSED),
        answer_lost=_first_code(faults, FaultKind.ANSWER_LOST),
        copies=1 + sum(fault.kind is FaultKind.DUPLICATED for fault in faults),
    )


def _first_code(faults: list[Fault], kind: FaultKind) -> str | None:
    return next((fault.code for fault in faults if fault.kind is kind), None)
