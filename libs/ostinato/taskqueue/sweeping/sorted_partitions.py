"""Sets of ids as ranges that are in order and do not overlap. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from ostinato.taskqueue.sweeping.partition import Partition

T = TypeVar("T")


def exclude(parts: Iterable[Partition], excluded: Partition) -> tuple[Partition, ...]:
    """`parts` without the ids of `excluded`: some stay, shrink, vanish or become two."""
    return tuple(rest for part in parts for rest in _without(part, excluded))


def exclude_all(parts: Iterable[Partition], excluded: Iterable[Partition]) -> tuple[Partition, ...]:
    left = tuple(part for part in parts if part.size)
    for hole in excluded:
        left = exclude(left, hole)
    return left


def _without(part: Partition, excluded: Partition) -> Iterator[Partition]:
    if not excluded.size or excluded.high <= part.low or part.high <= excluded.low:
        yield part
        return
    if part.low < excluded.low:
        yield Partition(part.low, excluded.low)
    if excluded.high < part.high:
        yield Partition(excluded.high, part.high)


def runs_only_in(parts: Iterable[Partition], items: Sequence[T], key: Callable[[T], int]) -> Iterator[Sequence[T]]:
    """Of `items`, which are sorted by their key, those in each of `parts`, as one run where there are any."""
    begin = 0
    for part in parts:
        begin = bisect_left(items, part.low, begin, key=key)
        end = bisect_left(items, part.high, begin, key=key)
        if begin < end:
            yield items[begin:end]
        begin = end
