"""The database under an installation: a server of our own that is kept running, or one that the user names."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from ostinato.cli.up.child import Say, told_exit
from ostinato.cli.up.data_directory import DataDirectory
from ostinato.cli.up.restart_policy import decide_restart_delay
from ostinato.cli.up.service_specs import DatabaseUrls
from ostinato.config.check_config import redacted_url
from ostinato.config.database import load_migration_database
from ostinato.errors import OstinatoError
from ostinato.storage.embedded.placement import POINTER
from ostinato.storage.embedded.roles import RUNTIME_ROLE
from ostinato.storage.embedded.server import EmbeddedServer


class DatabaseServer(Protocol):
    """What an installation asks of its database."""

    runtime_role: str  # empty: nobody to grant anything to

    async def start(self) -> None: ...

    async def watch(self) -> None:
        """To be called again and again: starts it again when it died."""
        ...

    async def stop(self) -> None: ...

    def urls(self) -> DatabaseUrls: ...

    def told(self) -> str:
        """Where it is, without secrets."""
        ...


class GivenDatabase:
    """A server that others look after."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._urls = DatabaseUrls(
            runtime=environ.get("OSTINATO_DATABASE_URL", "").strip() or environ["DATABASE_URL"].strip(),
            maintenance=load_migration_database(environ).url,
        )
        owner, runtime = (urlsplit(url).username for url in (self._urls.maintenance, self._urls.runtime))
        self.runtime_role = unquote(runtime) if runtime and runtime != owner else ""

    async def start(self) -> None:
        """Nothing to do; the services wait for it if need be."""

    async def watch(self) -> None:
        """Nothing to do."""

    async def stop(self) -> None:
        """Nothing to do."""

    def urls(self) -> DatabaseUrls:
        return self._urls

    def told(self) -> str:
        return redacted_url(self._urls.runtime)


class OwnDatabase:
    """The embedded server, supervised."""

    runtime_role = RUNTIME_ROLE

    def __init__(self, home: Path, log: Path, say: Say) -> None:
        self._server = EmbeddedServer(home, log=log)
        self._say = say
        if (home / POINTER).exists():
            self._say(f"PostgreSQL's files are in {self._server.home}, because its account can't enter {home}.")
            self._say("`make clean` removes them.")

    async def start(self) -> None:
        self._say(f"Starting PostgreSQL {self._server.binaries.major} ...")
        await self._server.start()

    async def watch(self) -> None:
        if not self._server.died():
            return
        assert self._server.process
        self._say(f"PostgreSQL: {told_exit(self._server.process.returncode)}, starting it again")
        attempt = 0
        while not await self._started_again():
            attempt += 1
            await asyncio.sleep(decide_restart_delay(attempt).total_seconds())
        self._say(f"PostgreSQL: answers again on port {self._server.port}")

    async def stop(self) -> None:
        await self._server.stop()

    def urls(self) -> DatabaseUrls:
        return DatabaseUrls(self._server.runtime_url(), self._server.owner_url())

    def told(self) -> str:
        version, port = self._server.binaries.major, self._server.port
        return f"PostgreSQL {version} on 127.0.0.1:{port}, files in {self._server.home}"

    async def _started_again(self) -> bool:
        try:
            await self._server.start()
        except OstinatoError as error:
            self._say(f"PostgreSQL: {error}")
            return False
        return True


def choose_database(environ: Mapping[str, str], directory: DataDirectory, say: Say) -> DatabaseServer:
    """The one that the environment names, else our own."""
    if any(environ.get(name, "").strip() for name in ("OSTINATO_DATABASE_URL", "DATABASE_URL")):
        return GivenDatabase(environ)
    return OwnDatabase(directory.postgres, directory.logs / "postgres.log", say)
