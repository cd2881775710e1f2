"""Whether anything in a database changed: a hash of every row of every table."""

from __future__ import annotations

from ostinato.storage.database import Database

_TABLES = """
select relname from pg_class
 where relnamespace = 'public'::regnamespace and relkind in ('r', 'p') and not relispartition and relname <> all($1)
 order by relname
"""
# What processes do by themselves, and what they note of rejected tokens.
_RESTLESS = ("tq_worker", "tq_measure", "tq_queue_running", "tq_queue_budget", "rejected_report")


async def fingerprint(db: Database) -> dict[str, str]:
    """Hash by table. For the small tables of a test."""
    tables = [row[0] for row in await db.fetch(_TABLES, list(_RESTLESS))]
    one = "select '{0}', md5(coalesce(string_agg(t::text, chr(10) order by t::text), '')) from {0} t"
    rows = await db.fetch(" union all ".join(one.format(table) for table in tables))
    return {row[0]: row[1] for row in rows}
