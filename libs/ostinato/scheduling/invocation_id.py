"""Ids of invocations: 64 bits whose numeric order is newest first.

Layout (LUCI Scheduler): a zero bit, 43 bits of inverted milliseconds since 2015-01-01T00:00Z, 16 random bits,
4 zero bits. Random bits are drawn by the caller; ids of one batch are drawn distinct.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NewType

InvocationId = NewType("InvocationId", int)

_EPOCH = datetime(2015, 1, 1, tzinfo=UTC)
_MASK = (1 << 43) - 1
_MILLISECOND = timedelta(milliseconds=1)


def make_invocation_id(created_at: datetime, random_16_bits: int) -> InvocationId:
    return InvocationId((_inverted(created_at) << 20) | ((random_16_bits & 0xFFFF) << 4))


def created_at_of(invocation_id: InvocationId) -> datetime:
    """When the invocation was created, to the millisecond."""
    return _EPOCH + (_MASK - (invocation_id >> 20)) * _MILLISECOND


def id_range(start: datetime, end: datetime) -> tuple[int, int]:
    """Ids [low, high) of invocations created in [start, end), at whole milliseconds."""
    return (_inverted(end) + 1) << 20, (_inverted(start) + 1) << 20


def _inverted(at: datetime) -> int:
    return _MASK - (at - _EPOCH) // _MILLISECOND
