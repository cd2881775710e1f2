"""A database that fails before a chosen step, and a picture of everything it holds."""

from __future__ import annotations

import asyncpg

from ostinato.errors import Unavailable
from ostinato.storage.database import Database

TABLES = (
    "job", "job_cron", "trigger", "invocation", "invocation_input", "invocation_history", "invocation_timer",
    "occurrence", "triage_log", "tq_ready", "tq_later",
)  # fmt: skip


class CrashAt:
    """A gate that fails the step after `left` others, as a lost connection would. Roll-backs happen."""

    def __init__(self) -> None:
        self.left = -1
        self.step = ""

    async def before(self, step: str, connection: asyncpg.Connection[asyncpg.Record]) -> None:
        if step == "ROLLBACK":
            return
        self.left -= 1
        if self.left == 0:
            self.step = step
            raise Unavailable(f"crashed before {step[:40]!r}")

    def after(self, step: str) -> None:
        pass


async def everything(database: Database) -> list[object]:
    return [sorted(map(repr, await database.fetch(f"select * from {table}"))) for table in TABLES]
