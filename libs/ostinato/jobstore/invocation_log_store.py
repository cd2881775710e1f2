"""Lines of an invocation's log: appended by the save that wrote them, never changed.

Readers see them in the order (version, line_no). A log that grows past its limit keeps its head and its last
lines; one marker row stands for what was cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from ostinato.scheduling.invocation_id import InvocationId
from ostinato.storage.transaction import Tx


@dataclass(frozen=True, slots=True)
class LogLine:
    at: datetime
    text: str


@dataclass(frozen=True, slots=True)
class LogEntry:
    """Lines that one save of one invocation wrote."""

    invocation_id: InvocationId
    version: int
    lines: Sequence[LogLine]


_APPEND = """
insert into invocation_log (invocation_id, version, line_no, at, line)
select * from unnest($1::bigint[], $2::int[], $3::smallint[], $4::timestamptz[], $5::text[])
"""


async def append_log_lines(tx: Tx, entries: Sequence[LogEntry]) -> None:
    rows = [
        (entry.invocation_id, entry.version, number, line.at, line.text)
        for entry in entries
        for number, line in enumerate(entry.lines)
    ]
    if rows:
        await tx.execute(_APPEND, *map(list, zip(*rows, strict=True)))
