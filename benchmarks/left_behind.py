"""Reminders as a process leaves them that dies at once after its commits."""

from __future__ import annotations

from benchmarks.laboratory import connected
from benchmarks.sides.remote import make_stale_reminders


async def leave_behind(url: str, count: int) -> None:
    async with connected(url) as connection:
        now = await connection.fetchval("select ostinato_now()")
        records = ((made.id, now, made.payload) for made in make_stale_reminders(count))
        await connection.copy_records_to_table("tq_reminder", records=records, columns=["id", "fresh_until", "payload"])
        await connection.execute("vacuum (analyze) tq_reminder")
