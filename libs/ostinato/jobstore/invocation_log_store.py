"""Lines of an invocation's log: appended by the save that wrote them, never changed.

Readers see them in the order (version, line_no). Writers hold the invocation's row lock. A log that grows past
its limit keeps its head and its last lines; a marker row stands for what was cut.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from ostinato.jobstore.invocation_store import set_log_bytes, storable
from ostinato.scheduling.invocation_id import InvocationId
from ostinato.scheduling.log_cut import CUT_MARKER, MAX_LOG_BYTES, LogRow, decide_cut, lines_of
from ostinato.storage.transaction import Row, Tx


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

    def stored_lines(self) -> Iterator[tuple[datetime, str]]:
        for line in self.lines:
            for text in lines_of(storable(line.text)):
                yield line.at, text


_APPEND = """
insert into invocation_log (invocation_id, version, line_no, at, line)
select * from unnest($1::bigint[], $2::int[], $3::smallint[], $4::timestamptz[], $5::text[])
"""

_LOAD_SIZES = """
select version, line_no, at, octet_length(line) + 1 as size, line = $2 as is_marker
  from invocation_log
 where invocation_id = $1
 order by version, line_no
"""

_REMOVE = """
delete from invocation_log
 where invocation_id = $1 and (version, line_no) between ($2, $3) and ($4, $5)
"""


async def append_log_lines(tx: Tx, entries: Sequence[LogEntry]) -> None:
    rows = [
        (entry.invocation_id, entry.version, number, at, text)
        for entry in entries
        for number, (at, text) in enumerate(entry.stored_lines())
    ]
    if rows:
        await tx.execute(_APPEND, *map(list, zip(*rows, strict=True)))


async def cut_long_logs(tx: Tx, sizes: Mapping[InvocationId, int]) -> None:
    """Cuts the logs that grew past the limit; `sizes` are their bytes, at least."""
    for invocation_id in sorted(invocation_id for invocation_id, size in sizes.items() if size > MAX_LOG_BYTES):
        await _cut(tx, invocation_id)


async def _cut(tx: Tx, invocation_id: InvocationId) -> None:
    """The marker takes the place of the last line that goes: who reads on from within the cut comes upon it."""
    found = await tx.fetch(_LOAD_SIZES, invocation_id, CUT_MARKER)
    rows = [LogRow(row["size"], row["is_marker"]) for row in found]
    kept = sum(row.size for row in rows)
    if (cut := decide_cut(rows)) is not None:
        first, last = cut
        start, end = found[first], found[last - 1]
        await tx.execute(_REMOVE, invocation_id, *_place(start), *_place(end))
        await tx.execute(_APPEND, [invocation_id], *([part] for part in (*_place(end), end["at"], CUT_MARKER)))
        kept += len(CUT_MARKER) + 1 - sum(row.size for row in rows[first:last])
    await set_log_bytes(tx, invocation_id, kept)


def _place(row: Row) -> tuple[int, int]:
    return row["version"], row["line_no"]
