"""Sets of small numbers as bit masks: the next member in constant time."""

from __future__ import annotations


def next_bit(mask: int, at: int) -> int:
    """The lowest member not below `at`, or -1."""
    rest = mask >> at
    return at + (rest & -rest).bit_length() - 1 if rest else -1
