"""The states of an invocation: one table, and why it is right.

    STARTING ──► RETRYING ──► RUNNING ──► SUCCEEDED | FAILED | ABORTED | TIMED_OUT
        └────────────┴─────── straight to RUNNING or to a final status

- STARTING and RETRYING are *initial*: no launch attempt is known to have reached the target for good, so a
  launch may be tried (again). RETRYING says that at least one attempt failed on our side. Beginning another
  attempt counts it and keeps the status; nothing leads back to STARTING.
- RUNNING belongs to multistage targets only: the outside world owns the run, and a notification, an abort or
  the run's timeout ends it. There is no way back to a launch, so a run is never launched twice after the target
  took it.
- Final statuses absorb. The first final status that commits wins (one compare-and-swap on the version, and this
  table); whatever comes later, from any attempt, is rejected and not merged. Triage sees a final invocation as
  no longer active, whichever way it ended.
- Staying in a status that is not final is a legal edit: attempts are counted, log lines and results arrive.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from types import MappingProxyType


class InvocationStatus(IntEnum):
    """Numbers as in `Invocation.Status`; they are stored."""

    STARTING = 1
    RETRYING = 2
    RUNNING = 3
    SUCCEEDED = 4
    FAILED = 5
    ABORTED = 6
    TIMED_OUT = 7


_S = InvocationStatus
_ENDS = frozenset({_S.SUCCEEDED, _S.FAILED, _S.ABORTED, _S.TIMED_OUT})

TRANSITIONS: Mapping[InvocationStatus, frozenset[InvocationStatus]] = MappingProxyType(
    {
        _S.STARTING: _ENDS | {_S.STARTING, _S.RETRYING, _S.RUNNING},
        _S.RETRYING: _ENDS | {_S.RETRYING, _S.RUNNING},
        _S.RUNNING: _ENDS | {_S.RUNNING},
        _S.SUCCEEDED: frozenset(),
        _S.FAILED: frozenset(),
        _S.ABORTED: frozenset(),
        _S.TIMED_OUT: frozenset(),
    }
)


def may_move(current: InvocationStatus, wanted: InvocationStatus) -> bool:
    return wanted in TRANSITIONS[current]


def is_final(status: InvocationStatus) -> bool:
    return not TRANSITIONS[status]


def is_initial(status: InvocationStatus) -> bool:
    """A launch may (still) be tried."""
    return status in (_S.STARTING, _S.RETRYING)
