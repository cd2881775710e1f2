"""A pgbouncer in transaction mode before a server, where the program is installed."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

from ostinato.storage.embedded.child_process import die_with_parent
from ostinato.storage.embedded.listening_port import free_port
from ostinato.storage.embedded.placement import choose_identity
from ostinato.testing.standby import until_true

# Few, so that every transaction gets the session of another one.
_SERVER_SESSIONS = 12
_CONFIG = """
[databases]
* = host={host} port={server_port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = {auth}
auth_file = {users}
pool_mode = transaction
max_client_conn = 1000
default_pool_size = {sessions}
server_login_retry = 1
"""


def find_pgbouncer() -> str | None:
    return shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


class PgBouncer:
    """Build it with `open_pgbouncer`."""

    def __init__(self, program: str, server_url: str, home: Path) -> None:
        self._program = program
        self._server = urlsplit(server_url)
        self._home = home
        self._identity = choose_identity(home / "data")
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The server's URL by way of it."""
        user, _, _ = self._server.netloc.rpartition("@")
        return self._server._replace(netloc=f"{user}@127.0.0.1:{self._port}").geturl()

    async def start(self) -> None:
        """Returns when it leads to the server. Also after it died."""
        self._process = self._launch()
        async with asyncio.timeout(30):
            await until_true(self.url, "select true")

    def kill(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def _launch(self) -> subprocess.Popen[bytes]:
        with (self._home / "pgbouncer.log").open("ab") as log:
            return subprocess.Popen(
                [self._program, self._home / "pgbouncer.ini"],
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=die_with_parent(signal.SIGKILL),  # noqa: PLW1509 - two system calls, no locks
                **(self._identity.popen_options() if self._identity else {}),
            )

    def prepare(self) -> None:
        """Writes its configuration. It refuses to run as root, so the account of the server may read it."""
        self._home.mkdir(exist_ok=True)
        users = self._home / "users.txt"
        users.write_text(f'"{unquote(self._server.username or "")}" "{unquote(self._server.password or "")}"\n')
        (self._home / "pgbouncer.ini").write_text(
            _CONFIG.format(
                host=self._server.hostname,
                server_port=self._server.port,
                port=self._port,
                users=users,
                auth="scram-sha-256" if self._server.password else "trust",
                sessions=_SERVER_SESSIONS,
            )
        )
        if self._identity:
            os.chown(users, self._identity.uid, self._identity.gid)
        users.chmod(0o600)


@asynccontextmanager
async def open_pgbouncer(program: str, server_url: str, home: Path) -> AsyncIterator[PgBouncer]:
    """Its files are in `home`, which its account may enter. Ends with the block."""
    bouncer = PgBouncer(program, server_url, home)
    bouncer.prepare()
    try:
        await bouncer.start()
        yield bouncer
    finally:
        bouncer.kill()
