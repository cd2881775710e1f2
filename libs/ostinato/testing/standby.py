"""A streaming, synchronous standby of an embedded server, for tests of a failover."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg

from ostinato.storage.embedded.child_process import die_with_parent
from ostinato.storage.embedded.cluster import server_environment
from ostinato.storage.embedded.listening_port import free_port
from ostinato.storage.embedded.placement import choose_identity
from ostinato.storage.embedded.server import EmbeddedServer

_START_SECONDS = 30
_IS_STANDBY = "select pg_is_in_recovery()"
_STREAMS = "select exists (select from pg_stat_replication where state = 'streaming' and sync_state = 'sync')"


class Standby:
    """Build it with `open_standby`: when the block begins, no commit of the primary is answered before it is here."""

    def __init__(self, primary: EmbeddedServer, home: Path) -> None:
        self.data = home / "data"
        self.port = free_port()
        self._primary = primary
        self._identity = choose_identity(primary.data)
        self._log = home / "standby.log"
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, primary_url: str) -> str:
        """What `primary_url` is on this server."""
        return _with_port(primary_url, self.port)

    def either_url(self, primary_url: str) -> str:
        """Whichever of the two is the primary."""
        parts = urlsplit(primary_url)
        both = f"{parts.netloc},127.0.0.1:{self.port}"
        return parts._replace(netloc=both, query="target_session_attrs=read-write").geturl()

    async def promote(self) -> None:
        """Returns when it takes writes; they wait for no other standby."""
        connection = await asyncpg.connect(self.url(self._primary.superuser_url()))
        try:
            assert await connection.fetchval("select pg_promote()")
            await connection.execute("alter system reset synchronous_standby_names")
            await connection.execute("select pg_reload_conf()")
        finally:
            await connection.close()

    async def start(self) -> None:
        self._copy()
        self._process = self._launch()
        async with asyncio.timeout(_START_SECONDS):
            await until_true(self.url(self._primary.superuser_url()), _IS_STANDBY)
            await self._make_synchronous()

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(30)

    def _copy(self) -> None:
        self.data.mkdir(mode=0o700, parents=True)
        if self._identity:
            os.chown(self.data, self._identity.uid, self._identity.gid)
        subprocess.run(
            [
                *(self._primary.binaries.folder / "pg_basebackup", "--pgdata", self.data, "--write-recovery-conf"),
                *("--checkpoint", "fast", "--dbname", self._primary.superuser_url()),
            ],
            check=True,
            cwd="/",
            env=server_environment(os.environ),
            **(self._identity.popen_options() if self._identity else {}),
        )

    def _launch(self) -> subprocess.Popen[bytes]:
        options = {"port": str(self.port), "listen_addresses": "127.0.0.1", "unix_socket_directories": ""}
        arguments = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        # A standby wants room for as many connections as its primary has.
        arguments += ["-c", "max_connections=200"]
        with self._log.open("ab") as log:
            return subprocess.Popen(
                [self._primary.binaries.folder / "postgres", "-D", self.data, *arguments],
                cwd="/",
                env=server_environment(os.environ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=die_with_parent(signal.SIGQUIT),  # noqa: PLW1509 - two system calls, no locks
                **(self._identity.popen_options() if self._identity else {}),
            )

    async def _make_synchronous(self) -> None:
        connection = await asyncpg.connect(self._primary.superuser_url())
        try:
            await connection.execute("alter system set synchronous_standby_names = '*'")
            await connection.execute("select pg_reload_conf()")
        finally:
            await connection.close()
        await until_true(self._primary.superuser_url(), _STREAMS)


@asynccontextmanager
async def open_standby(primary: EmbeddedServer, home: Path) -> AsyncIterator[Standby]:
    """Of a primary that runs. Ends with the block, promoted or not."""
    standby = Standby(primary, home)
    try:
        await standby.start()
        yield standby
    finally:
        standby.stop()


async def until_true(url: str, question: str) -> None:
    """Until a server answers, and with true."""
    while not await _ask(url, question):  # noqa: ASYNC110 - another process has no event to set
        await asyncio.sleep(0.05)


async def _ask(url: str, question: str) -> bool:
    try:
        connection = await asyncpg.connect(url)
    except (asyncpg.PostgresError, OSError):
        return False
    try:
        return bool(await connection.fetchval(question))
    finally:
        await connection.close()


def _with_port(url: str, port: int | None) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=f"{parts.netloc.rpartition(':')[0]}:{port}").geturl()
