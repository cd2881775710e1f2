"""A PostgreSQL of our own with a durable disk, and what may be done to it."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg

from chaos.fault_plan import DatabaseFault, PlannedFault
from ostinato.clock import SystemClock
from ostinato.config.database import DatabaseSettings
from ostinato.jobflow.schema import install_schema
from ostinato.storage.embedded.roles import RUNTIME_ROLE
from ostinato.storage.embedded.server import EmbeddedServer

_SIGNALS = {
    DatabaseFault.KILL: signal.SIGKILL,
    DatabaseFault.IMMEDIATE: signal.SIGQUIT,
    DatabaseFault.FAST: signal.SIGINT,
}
_SESSIONS = "select pid from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()"


class Postgres:
    """Build it with `open_postgres`: migrated, and stopped at the end of the block."""

    def __init__(self, server: EmbeddedServer) -> None:
        self.server = server

    @property
    def url(self) -> str:
        """Of the role that the services use."""
        return self.server.runtime_url()

    @property
    def owner_url(self) -> str:
        return self.server.owner_url()

    @property
    def major(self) -> int:
        return self.server.binaries.major

    async def suffer(self, fault: PlannedFault) -> None:
        """Returns when it serves again."""
        if fault.kind in (DatabaseFault.KILL_BACKEND, DatabaseFault.CUT_OFF):
            await self._hit_sessions(fault)
            return
        process = self.server.process
        assert process is not None
        process.send_signal(_SIGNALS[DatabaseFault(fault.kind)])
        await asyncio.to_thread(process.wait)
        await asyncio.sleep(fault.lasts)
        await self.server.start()

    async def _hit_sessions(self, fault: PlannedFault) -> None:
        connection = await asyncpg.connect(self.server.superuser_url())
        try:
            if fault.kind is DatabaseFault.CUT_OFF:
                await connection.execute(f"select pg_terminate_backend(pid) from ({_SESSIONS}) s")
                return
            pids = [row[0] for row in await connection.fetch(f"{_SESSIONS} order by pid")]
            if pids:
                os.kill(pids[int(fault.choice * len(pids))], signal.SIGKILL)
        finally:
            connection.terminate()
        await self._until_it_answers()

    async def _until_it_answers(self) -> None:
        """The server starts all its processes anew when one of them was killed."""
        while True:
            try:
                connection = await asyncpg.connect(self.server.superuser_url(), timeout=2)
            except (asyncpg.PostgresError, OSError, TimeoutError):
                await asyncio.sleep(0.05)
                continue
            connection.terminate()
            return


@asynccontextmanager
async def open_postgres(home: Path, log: Path) -> AsyncIterator[Postgres]:
    server = EmbeddedServer(home, log=log)
    await server.start()
    try:
        settings = DatabaseSettings(server.owner_url(), application_name="chaos")
        await install_schema(settings, now=SystemClock().now(), runtime_role=RUNTIME_ROLE)
        yield Postgres(server)
    finally:
        await server.stop()
