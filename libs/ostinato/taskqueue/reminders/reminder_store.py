"""SQL of tq_reminder: written with the transaction it belongs to, scanned by ranges of ids, deleted once handed over.

What is fresh, stale or due is judged by the database's clock. Whoever locks several rows does it in the order of ids.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from ostinato.storage.database import Database
from ostinato.storage.transaction import Tx
from ostinato.taskqueue.reminders.refusal_policy import RefusalPolicy
from ostinato.taskqueue.reminders.reminder import LONGEST_FRESH, NewReminder

MOST_LOOKED_AT = 10_000
_MOST_ERROR = 2000

_INSERT = """
insert into tq_reminder (id, fresh_until, payload)
select u.id, date_trunc('milliseconds', ostinato_now() + least($4::interval, u.time_left)), u.payload
  from unnest($1::uuid[], $2::interval[], $3::bytea[]) u(id, time_left, payload)
"""


async def insert_reminders(tx: Tx, reminders: Sequence[NewReminder]) -> None:
    """They exist if and only if `tx` commits."""
    if reminders:
        await tx.execute(
            _INSERT,
            [reminder.id for reminder in reminders],
            [reminder.time_left for reminder in reminders],
            [reminder.payload for reminder in reminders],
            LONGEST_FRESH,
        )


@dataclass(frozen=True, slots=True)
class ScannedReminder:
    """`stale_for` is negative while it is fresh; `is_due`: stale, and no later time is set for its next try."""

    id: UUID
    stale_for: timedelta
    is_due: bool


_SCAN = "select id, stale_for, is_due from tq_scan_reminders_v1($1, $2, $3)"


async def scan_reminders(db: Database, low: UUID, high: UUID | None, limit: int) -> list[ScannedReminder]:
    """Those of [low, high) in the order of their ids, or to the end of all ids; fresh ones too."""
    return [ScannedReminder(*row) for row in await db.fetch(_SCAN, low, high, limit)]


_PAYLOADS = "select id, payload from tq_reminder where id = any($1::uuid[])"


async def load_payloads(db: Database, ids: Sequence[UUID]) -> dict[UUID, bytes]:
    """Of those that are still there."""
    return {row["id"]: row["payload"] for row in await db.fetch(_PAYLOADS, list(ids))}


_PAGE = "select id, payload from tq_reminder where id > $1 order by id limit $2"


async def load_page(db: Database, after: UUID, size: int) -> dict[UUID, bytes]:
    """In the order of ids."""
    return {row["id"]: row["payload"] for row in await db.fetch(_PAGE, after, size)}


_IDS = "select coalesce(string_agg(uuid_send(id), ''::bytea order by id), ''::bytea) as ids from tq_reminder"


async def load_ids(db: Database) -> bytes:
    """Of all that there are at one moment, in their order: 16 bytes each, so that a million is no matter."""
    ids: bytes = (await db.fetch(_IDS))[0]["ids"]
    return ids


_SOME = """
(select payload from tq_reminder limit $1) union all (select payload from tq_parked_reminder limit $1)
"""


async def load_some_payloads(db: Database, most: int) -> list[bytes]:
    """Of reminders and of parked ones, up to `most` each, at one moment."""
    return [row["payload"] for row in await db.fetch(_SOME, most)]


_ANY_BEGINNING = """
select coalesce(bool_or(substring(payload from 1 for length($1::bytea)) = $1), false) or count(*) > $3
  from (select payload from tq_reminder where fresh_until < (select ostinato_now()) + $2::interval limit $3 + 1) late
"""


async def is_any_beginning(tx: Tx, beginning: bytes, *, fresh_until: timedelta) -> bool:
    """Whether one begins so among those whose freshness ends before then, from now; also if these are over 10,000."""
    return bool(await tx.fetchval(_ANY_BEGINNING, beginning, fresh_until, MOST_LOOKED_AT))


_CONTAINING = """
select r.payload
  from tq_reminder r
 where substring(r.payload from 1 for length($1::bytea)) = $1
   and exists (select from unnest($2::bytea[]) p(part) where position(p.part in r.payload) > 0)
"""


async def find_payloads_containing(tx: Tx, beginning: bytes, parts: Collection[bytes]) -> list[bytes]:
    """Of those that begin so, fresh ones too, those with one of `parts` somewhere. Reads all reminders."""
    return [row["payload"] for row in await tx.fetch(_CONTAINING, beginning, list(parts))]


# A deletion that a crash of the server forgets costs one request more, which adds nothing. So its commit waits for
# no disk.
_DELETE = """
with handed_over as materialized (
    select id from tq_reminder
     where id = any($1::uuid[]) and (select set_config('synchronous_commit', 'off', true)) is not null
     order by id
       for update
)
delete from tq_reminder r using handed_over h where r.id = h.id returning r.id
"""


async def delete_reminders(db: Database, ids: Sequence[UUID]) -> set[UUID]:
    """Those that were there."""
    if not ids:
        return set()
    return {row["id"] for row in await db.fetch_written(_DELETE, list(ids))}


@dataclass(frozen=True, slots=True)
class RefusedReminder:
    id: UUID
    task_class: str
    queue: str
    error: str


_NOTE = """
with refused as materialized (
    select r.id, u.error, u.task_class, u.queue, ostinato_now() as at,
           coalesce(r.first_refused_at <= ostinato_now() - $7::interval, false) as parks
      from unnest($1::uuid[], $2::text[], $3::text[], $4::text[]) u(id, error, task_class, queue)
      join tq_reminder r on r.id = u.id
     order by r.id
       for update of r
), parked as (
    delete from tq_reminder r using refused u where r.id = u.id and u.parks
    returning r.id, u.at, u.task_class, u.queue, r.attempts + 1 as attempts, u.error, r.payload
), noted as (
    update tq_reminder r
       set attempts = r.attempts + 1, first_refused_at = coalesce(r.first_refused_at, u.at), last_error = u.error,
           next_try_at = u.at + least($5::interval * 2 ^ least(r.attempts, 20), $6::interval)
      from refused u
     where r.id = u.id and not u.parks
)
insert into tq_parked_reminder (id, parked_at, task_class, queue, attempts, error, payload)
select * from parked
returning id
"""


async def note_refusals(db: Database, refused: Sequence[RefusedReminder], policy: RefusalPolicy) -> set[UUID]:
    """Sets when they are tried again, or parks them; returns those that were parked."""
    if not refused:
        return set()
    rows = await db.fetch_written(
        _NOTE,
        [reminder.id for reminder in refused],
        [_storable(reminder.error) for reminder in refused],
        [_storable(reminder.task_class) for reminder in refused],
        [_storable(reminder.queue) for reminder in refused],
        policy.spacing,
        policy.longest_spacing,
        policy.park_after,
    )
    return {row["id"] for row in rows}


def _storable(text: str) -> str:
    """The database takes neither zero characters nor halves of surrogate pairs."""
    return text[:_MOST_ERROR].replace("\x00", "\N{REPLACEMENT CHARACTER}").encode(errors="replace").decode()


@dataclass(frozen=True, slots=True)
class ReminderBacklog:
    """`oldest`: how long the stalest one has been stale; negative if all are fresh, None without any."""

    waiting: int
    parked: int
    oldest: timedelta | None


_BACKLOG = """
select (select count(*) from tq_reminder) as waiting, (select count(*) from tq_parked_reminder) as parked,
       (select ostinato_now() - min(fresh_until) from tq_reminder) as oldest
"""


async def load_backlog(db: Database) -> ReminderBacklog:
    """Counts by reading the tables: for people and measures, not for loops."""
    rows = await db.fetch(_BACKLOG)
    return ReminderBacklog(**dict(rows[0]))
