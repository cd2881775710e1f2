"""Tasks that transactions under way insert as claimed by this process: known before they are there.

So whoever frees rows of ours that nobody knows leaves them alone. While that looks, nothing new may be expected: it has
asked already who is known.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager


class ExpectedTasks:
    def __init__(self) -> None:
        self._classes: dict[int, int] = {}  # by id
        self._counts: Counter[int] = Counter()
        self._closed = False

    @property
    def ids(self) -> Collection[int]:
        return self._classes.keys()

    def of_class(self, class_id: int) -> int:
        return self._counts[class_id]

    def add(self, class_id: int, ids: Sequence[int]) -> bool:
        """False: not now."""
        if self._closed:
            return False
        self._classes.update(dict.fromkeys(ids, class_id))
        self._counts[class_id] += len(ids)
        return True

    def remove(self, ids: Sequence[int]) -> bool:
        """Whether they were expected until now."""
        if not ids or ids[0] not in self._classes:
            return False
        self._counts[self._classes[ids[0]]] -= len(ids)
        for task_id in ids:
            del self._classes[task_id]
        return True

    @contextmanager
    def closed(self) -> Iterator[None]:
        """Nothing is added during the block."""
        self._closed = True
        try:
            yield
        finally:
            self._closed = False
