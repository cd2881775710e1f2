"""What goes wrong for processes that take orders: three of ten steps, to the database and to the remote queue alike."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

from ostinato.testing.faults import Fault
from tests.simulation.outbox import has_caller

RATE = 0.3
# A rollback fails in one way only: its connection breaks, which has rolled back. It is as rare as other breaks are.
_ROLLBACK_RATE = RATE / 10

_Weights = Mapping[Fault, int]
# Most faults leave connections and processes as they are, so that a walk of thousands of steps takes a second or two.
_CRASHES: _Weights = {Fault.STALL: 3, Fault.DEATH_BEFORE: 3, Fault.DEATH_AFTER: 3}
_CUTS: _Weights = {Fault.CUT_BEFORE: 8, Fault.CUT_AFTER: 8}
_OF_STEPS: _Weights = {Fault.REFUSED: 450, Fault.UNHEARD: 450, **_CUTS, **_CRASHES}
_OF_BEGIN: _Weights = {Fault.REFUSED: 900, **_CUTS, **_CRASHES}
_OF_COMMIT: _Weights = {Fault.ROLLED_BACK: 300, Fault.LOST: 150, Fault.UNHEARD: 450, **_CUTS, **_CRASHES}
_OF_CALLERS: _Weights = {Fault.CANCELLED: 100}
_OF_CONNECT: _Weights = {Fault.REFUSED: 900, **_CRASHES}


class OrderFaults:
    def __init__(self, random: Random) -> None:
        self.active = True
        self._random = random

    def choose(self, step: str, commit: int) -> Fault | None:
        if not self.active or self._random.random() >= (_ROLLBACK_RATE if step == "ROLLBACK" else RATE):
            return None
        weights = _weights(step)
        return self._random.choices(list(weights), list(weights.values()))[0]


def _weights(step: str) -> _Weights:
    match step:
        case "ROLLBACK":
            return _CUTS
        case "CONNECT":
            return _OF_CONNECT
        case "BEGIN":
            weights = _OF_BEGIN
        case "COMMIT":
            weights = _OF_COMMIT
        case _:
            weights = _OF_STEPS
    return weights | _OF_CALLERS if has_caller() else weights
