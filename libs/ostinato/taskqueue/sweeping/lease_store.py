"""SQL of tq_sweep_section and tq_sweep_lease: who works on which ranges of ids, and until when.

Of two leases of a section that are alive at one moment none overlaps the other: whoever takes one holds the section's
row, and reads the leases after he got it. The database's clock decides which are alive.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from ostinato.errors import InternalError, InvalidArgument
from ostinato.storage.database import Database
from ostinato.storage.transaction import Tx
from ostinato.taskqueue.sweeping.partition import Partition, parse_partition

_MOST_EXPIRED = 50  # that one caller clears away

_ENSURE = "insert into tq_sweep_section (section) values ($1) on conflict do nothing"
_LOCK = "select from tq_sweep_section where section = $1 for update"


async def lock_section(tx: Tx, section: str) -> None:
    await tx.execute(_ENSURE, section)
    await tx.execute(_LOCK, section)


@dataclass(frozen=True, slots=True)
class StoredLeases:
    """`alive` are the ranges that are taken; `expired` the ids of leases that may be cleared away."""

    alive: tuple[Partition, ...]
    expired: tuple[int, ...]


_LOAD = """
select lease_id, parts, expires_at > (select ostinato_now()) as alive
  from tq_sweep_lease where section = $1 order by lease_id
"""


async def load_leases(tx: Tx, section: str) -> StoredLeases:
    """To be called with the section locked. Raises InternalError if one can't be read."""
    rows = await tx.fetch(_LOAD, section)
    alive = [_parse_part(section, text) for row in rows if row["alive"] for text in row["parts"]]
    return StoredLeases(tuple(alive), tuple(row["lease_id"] for row in rows if not row["alive"]))


_CLEAR = "delete from tq_sweep_lease where section = $1 and lease_id = any($2::bigint[])"


async def clear_expired(tx: Tx, section: str, leases: StoredLeases) -> None:
    if expired := leases.expired[:_MOST_EXPIRED]:
        await tx.execute(_CLEAR, section, list(expired))


_INSERT = """
insert into tq_sweep_lease (section, parts, expires_at) values ($1, $2, ostinato_now() + $3) returning lease_id
"""


async def insert_lease(tx: Tx, section: str, parts: Sequence[Partition], duration: timedelta) -> int:
    """Its id."""
    lease_id: int = await tx.fetchval(_INSERT, section, [str(part) for part in parts], duration)
    return lease_id


async def delete_lease(db: Database, section: str, lease_id: int) -> None:
    await db.execute(_CLEAR, section, [lease_id])


def _parse_part(section: str, text: str) -> Partition:
    try:
        return parse_partition(text)
    except InvalidArgument as error:
        raise InternalError(f"a lease of section {section} can't be read: {error}") from error
