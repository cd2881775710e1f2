"""Lines of an invocation's log: appended by the save that wrote them, never changed.

Readers see them in the order (version, line_no). Writers hold the invocation's row lock. A log that grows past
its limit keeps its head and its last lines; a marker row stands for what was cut.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate, takewhile

from ostinato.jobstore.invocation_store import set_log_bytes, storable
from ostinato.scheduling.invocation_id import InvocationId
from ostinato.storage.transaction import Tx

MAX_LOG_BYTES = 200_000
# Cut well below the limit, so that not every further line cuts again.
CUT_LOG_BYTES = 150_000
LAST_LINES_KEPT = 100
CUT_MARKER = "--- the log has been cut here ---"


@dataclass(frozen=True, slots=True)
class LogLine:
    at: datetime
    text: str

    @property
    def size(self) -> int:
        """The bytes it takes of the log's limit."""
        return len(storable(self.text).encode()) + 1


@dataclass(frozen=True, slots=True)
class LogEntry:
    """Lines that one save of one invocation wrote."""

    invocation_id: InvocationId
    version: int
    lines: Sequence[LogLine]


@dataclass(frozen=True, slots=True)
class LogRow:
    """Where a stored line stands and how much room it takes."""

    version: int
    line_no: int
    size: int
    is_marker: bool


_APPEND = """
insert into invocation_log (invocation_id, version, line_no, at, line)
select * from unnest($1::bigint[], $2::int[], $3::smallint[], $4::timestamptz[], $5::text[])
"""

_LOAD_SIZES = """
select version, line_no, octet_length(line) + 1 as size, line = $2 as is_marker
  from invocation_log
 where invocation_id = $1
 order by version, line_no
"""

_REMOVE = """
delete from invocation_log
 where invocation_id = $1 and (version, line_no) >= ($2, $3) and (version, line_no) < ($4, $5)
returning at
"""


async def append_log_lines(tx: Tx, entries: Sequence[LogEntry]) -> None:
    rows = [
        (entry.invocation_id, entry.version, number, line.at, storable(line.text))
        for entry in entries
        for number, line in enumerate(entry.lines)
    ]
    if rows:
        await tx.execute(_APPEND, *map(list, zip(*rows, strict=True)))


async def cut_long_logs(tx: Tx, sizes: Mapping[InvocationId, int]) -> None:
    """Cuts the logs that grew past the limit; `sizes` are their bytes."""
    for invocation_id, size in sorted(sizes.items()):
        if size > MAX_LOG_BYTES:
            await _cut(tx, invocation_id)


def decide_cut(rows: Sequence[LogRow]) -> tuple[int, int] | None:
    """Which rows [first, last) to replace by a marker; None if the log is short enough. Pure."""
    if sum(row.size for row in rows) <= MAX_LOG_BYTES:
        return None
    tail = _fitting([row.size for row in reversed(rows[-LAST_LINES_KEPT:])], CUT_LOG_BYTES // 2)
    room = CUT_LOG_BYTES - sum(row.size for row in rows[len(rows) - tail :])
    head = _fitting([row.size for row in rows], room)
    former_cut = next((index for index, row in enumerate(rows) if row.is_marker), head)
    return min(head, former_cut), len(rows) - tail


def _fitting(sizes: Sequence[int], room: int) -> int:
    return len(list(takewhile(lambda total: total <= room, accumulate(sizes))))


async def _cut(tx: Tx, invocation_id: InvocationId) -> None:
    found = await tx.fetch(_LOAD_SIZES, invocation_id, CUT_MARKER)
    rows = [LogRow(row["version"], row["line_no"], row["size"], row["is_marker"]) for row in found]
    if (cut := decide_cut(rows)) is None:
        return
    first, last = cut
    start, end = rows[first], rows[last] if last < len(rows) else LogRow(rows[-1].version + 1, 0, 0, is_marker=False)
    removed = await tx.fetch(_REMOVE, invocation_id, start.version, start.line_no, end.version, end.line_no)
    marker = LogLine(removed[0]["at"], CUT_MARKER)
    await tx.execute(_APPEND, [invocation_id], [start.version], [start.line_no], [marker.at], [marker.text])
    kept = [*rows[:first], *rows[last:]]
    await set_log_bytes(tx, invocation_id, sum(row.size for row in kept) + len(CUT_MARKER) + 1)
