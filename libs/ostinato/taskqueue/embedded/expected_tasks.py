"""Tasks that transactions under way insert as claimed by this process: known before they are there.

So whoever frees rows of ours that nobody knows leaves them alone. While that looks, nothing new may be expected: it has
asked already who is known.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


class ExpectedTasks:
    def __init__(self) -> None:
        self._ids: defaultdict[int, set[int]] = defaultdict(set)  # by class
        self._closed = False

    @property
    def ids(self) -> list[int]:
        return [task_id for ids in self._ids.values() for task_id in ids]

    def count(self, class_id: int) -> int:
        return len(self._ids[class_id])

    def add(self, class_id: int, ids: Sequence[int]) -> bool:
        """False: not now."""
        if self._closed:
            return False
        self._ids[class_id].update(ids)
        return True

    def remove(self, class_id: int, ids: Sequence[int]) -> bool:
        """Whether they were expected until now. `ids` were added together."""
        expected = self._ids[class_id]
        if expected.isdisjoint(ids):
            return False
        expected.difference_update(ids)
        return True

    @contextmanager
    def closed(self) -> Iterator[None]:
        """Nothing is added during the block."""
        self._closed = True
        try:
            yield
        finally:
            self._closed = False
