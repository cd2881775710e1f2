"""SQL of tq_sweep_turn: of all processes that could begin a sweep, one at a time does. The database's clock decides."""

from __future__ import annotations

from datetime import timedelta

from ostinato.storage.database import Database

# A time that lies ahead (the clock was set back) holds up nobody.
_TAKE = """
with free as materialized (
    select one from tq_sweep_turn
     where taken_at <= (select ostinato_now()) - $1::interval or taken_at > (select ostinato_now())
       for no key update skip locked
)
update tq_sweep_turn t set taken_at = ostinato_now() from free f where t.one = f.one returning true as taken
"""


async def take_turn(db: Database, every: timedelta) -> bool:
    """True for one caller, once `every`. May be lost with a lost answer: the next turn comes."""
    return bool(await db.fetch_written(_TAKE, every))


_WAIT = """
select greatest(interval '0', least($1::interval, taken_at + $1::interval - ostinato_now())) as wait from tq_sweep_turn
"""


async def load_wait(db: Database, every: timedelta) -> timedelta:
    """Until the next turn."""
    rows = await db.fetch(_WAIT, every)
    wait: timedelta = rows[0]["wait"]
    return wait
