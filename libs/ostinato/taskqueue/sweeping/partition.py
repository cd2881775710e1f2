"""Ranges of ids that a sweep is shared out by: half-open, of whole numbers, written `low_high` in hex. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from uuid import UUID

from ostinato.errors import InvalidArgument

KEY_SPACE_BYTES = 16  # of a UUID
_TEXT = re.compile(r"([0-9a-fA-F]+)_([0-9a-fA-F]+)")


@dataclass(frozen=True, slots=True, order=True)
class Partition:
    """[low, high). Raises ValueError for reversed or negative bounds."""

    low: int
    high: int

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.high:
            raise ValueError(f"bounds must be in order and not negative: {self.low}, {self.high}")

    @classmethod
    def universe(cls, key_space_bytes: int) -> Partition:
        """All ids of that length."""
        return cls(0, 1 << 8 * key_space_bytes)

    @classmethod
    def span(cls, first: int, last: int) -> Partition:
        """From `first` to `last`, both included."""
        return cls(first, last + 1)

    @property
    def size(self) -> int:
        return self.high - self.low

    def __str__(self) -> str:
        return f"{self.low:x}_{self.high:x}"

    def split(self, count: int) -> tuple[Partition, ...]:
        """At most `count` parts of one size, the last one perhaps smaller, in order. An empty range has none."""
        if count < 1:
            raise ValueError(f"can't split into {count} parts")
        step = max(1, -(-self.size // count))
        return tuple(Partition(low, min(low + step, self.high)) for low in range(self.low, self.high, step))

    def split_after(self, key: int, *, seen: int, wanted: int, most: int) -> tuple[Partition, ...]:
        """What follows `key`, in parts that hold about `wanted` ids each if it is as dense as it was up to `key`.

        `seen` ids were found up to `key`, which is one of them; never more than `most` parts, none if nothing follows.
        """
        if not self.low <= key < self.high:
            raise ValueError(f"{key:x} is not in {self}")
        rest = Partition(key + 1, self.high)
        expected_parts = -(-seen * rest.size // (wanted * (rest.low - self.low)))
        return rest.split(min(most, expected_parts)) if rest.size else ()

    def query_bounds(self) -> tuple[UUID, UUID | None]:
        """The bounds as ids; None for an end that lies beyond them all. Raises ValueError if the beginning does."""
        return UUID(int=self.low), UUID(int=self.high) if self.high < 1 << 8 * KEY_SPACE_BYTES else None


def parse_partition(text: str) -> Partition:
    """Raises InvalidArgument."""
    match = _TEXT.fullmatch(text)
    if match is None:
        raise InvalidArgument.of("partition", "must be two numbers in hex without signs, `low_high`")
    low, high = (int(bound, 16) for bound in match.groups())
    if low > high:
        raise InvalidArgument.of("partition", "must not end before it begins")
    return Partition(low, high)
