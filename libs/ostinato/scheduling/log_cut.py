"""How the log of a run is kept within its limit: its head and its last lines stay, a marker stands for the rest.

However often a log is cut, it has one marker, what stands before it is the beginning of all that was ever written,
and what stands behind it is the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, takewhile

MAX_LOG_BYTES = 200_000
# Cut well below the limit, so that not every further line cuts again.
CUT_LOG_BYTES = 150_000
LAST_LINES_KEPT = 100
CUT_MARKER = "--- the log has been cut here ---"
_MARKER_SIZE = len(CUT_MARKER) + 1


@dataclass(frozen=True, slots=True)
class LogRow:
    """`size`: the bytes that a line takes of the limit, its end included."""

    size: int
    is_marker: bool = False


def decide_cut(rows: Sequence[LogRow]) -> tuple[int, int] | None:
    """Which rows [first, last) to replace by a marker; None if the log is short enough.

    The last lines get at most half of the room, the head gets what they leave.
    """
    if sum(row.size for row in rows) <= MAX_LOG_BYTES:
        return None
    markers = [index for index, row in enumerate(rows) if row.is_marker]
    first_marker, behind_markers = (markers[0], markers[-1] + 1) if markers else (len(rows), 0)
    last_rows = rows[max(behind_markers, len(rows) - LAST_LINES_KEPT) :]
    tail = _fitting(last_rows[::-1], CUT_LOG_BYTES // 2)
    room = CUT_LOG_BYTES - _MARKER_SIZE - sum(row.size for row in rows[len(rows) - tail :])
    return _fitting(rows[:first_marker], room), len(rows) - tail


def _fitting(rows: Sequence[LogRow], room: int) -> int:
    """How many of the first rows fit."""
    return len(list(takewhile(lambda total: total <= room, accumulate(row.size for row in rows))))


def lines_of(text: str) -> list[str]:
    """A text as it goes into a log: one that is longer than a whole log is cut and followed by the marker."""
    if len(text) < MAX_LOG_BYTES // 4 or len(encoded := text.encode()) < MAX_LOG_BYTES:
        return [text]
    # As much as the head of a log has room for, whatever its last lines take.
    kept = encoded[: CUT_LOG_BYTES // 2 - 2 * _MARKER_SIZE]
    return [kept.decode(errors="ignore"), CUT_MARKER]
