"""Counts handler starts in a file that the measuring process maps too, so that watching costs the database nothing."""

from __future__ import annotations

import mmap
import struct
import time
from pathlib import Path

_SIZE = 24
_COUNT_AND_FIRST = struct.Struct("<Qd")
_LAST_AT = 16


class StartCounter:
    """The number of starts and the wall time of the first and the last one. `log` also keeps (number, monotonic)."""

    def __init__(self, path: str, *, log: bool = False) -> None:
        with Path(path).open("a+b") as file:
            file.truncate(_SIZE)
            self._map = mmap.mmap(file.fileno(), _SIZE)
        self._count = 0
        self._first = 0.0
        self.log: list[tuple[int, float]] | None = [] if log else None

    def hit(self, number: int) -> None:
        now = time.time()
        if not self._count:
            self._first = now
        self._count += 1
        _COUNT_AND_FIRST.pack_into(self._map, 0, self._count, self._first)
        struct.pack_into("<d", self._map, _LAST_AT, now)
        if self.log is not None:
            self.log.append((number, time.monotonic()))

    @property
    def count(self) -> int:
        return int(_COUNT_AND_FIRST.unpack_from(self._map)[0])

    @property
    def first_at(self) -> float:
        return float(_COUNT_AND_FIRST.unpack_from(self._map)[1])

    @property
    def last_at(self) -> float:
        return float(struct.unpack_from("<d", self._map, _LAST_AT)[0])
