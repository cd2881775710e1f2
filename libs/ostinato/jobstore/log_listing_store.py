"""Reads the log of an invocation in pages."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from ostinato.scheduling.invocation_id import InvocationId
from ostinato.storage.database import Reader

# (version, line_no): where a line stands in its log.
LogPosition = tuple[int, int]
BEFORE_ALL: LogPosition = (0, -1)


@dataclass(frozen=True, slots=True)
class ListedLine:
    position: LogPosition
    at: datetime
    line: str


async def list_log_lines(
    reader: Reader, invocation_id: InvocationId, *, after: LogPosition, limit: int
) -> list[ListedLine]:
    """Oldest first."""
    rows = await reader.fetch(
        "select version, line_no, at, line from invocation_log "
        "where invocation_id = $1 and (version, line_no) > ($2::int, $3::smallint) "
        "order by version, line_no limit $4",
        invocation_id,
        *after,
        limit,
    )
    return [ListedLine((row["version"], row["line_no"]), row["at"], row["line"]) for row in rows]
