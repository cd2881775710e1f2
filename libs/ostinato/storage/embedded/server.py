"""A PostgreSQL server as a child process: made once, started, watched and stopped by its parent.

It listens on loopback at a port that stays the same over restarts. At most one parent per data directory at a
time (a lock file says so), and the server dies with its parent. After any crash, of the server or of the
parent, `start` brings it up again with all that was committed.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ostinato.errors import FailedPrecondition, Unavailable
from ostinato.storage.embedded.binaries import Binaries, find_binaries
from ostinato.storage.embedded.child_process import die_with_parent
from ostinato.storage.embedded.cluster import (
    Passwords,
    init_cluster,
    load_passwords,
    require_same_version,
    server_environment,
)
from ostinato.storage.embedded.listening_port import choose_port
from ostinato.storage.embedded.lock_file import clear_leftover, read_lock_file
from ostinato.storage.embedded.placement import choose_home, choose_identity, runnable_binaries
from ostinato.storage.embedded.roles import DATABASE, OWNER_ROLE, RUNTIME_ROLE, ensure_roles

_POLL_SECONDS = 0.02
_START_ATTEMPTS = 40
_RECOVERY_SECONDS = 600  # replaying a gigabyte of log on a slow disk


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """Durable by default: what was committed survives the machine's power."""

    options: tuple[tuple[str, str], ...] = (("max_connections", "200"), ("shared_buffers", "128MB"))
    sync_new_cluster: bool = True

    @classmethod
    def fast(cls) -> ServerSettings:
        """For tests: a crash of the machine may destroy the data."""
        unsafe = (("fsync", "off"), ("synchronous_commit", "off"), ("full_page_writes", "off"))
        return cls((*cls().options, *unsafe), sync_new_cluster=False)


class EmbeddedServer:
    """One server whose files live in `home`. `process` is None while it does not run."""

    def __init__(
        self,
        home: Path,
        settings: ServerSettings | None = None,
        *,
        log: Path | None = None,
        binaries: Binaries | None = None,
    ) -> None:
        """`binaries`: these, instead of the first that are found."""
        self.home = choose_home(home)
        self.data = self.home / "data"
        self.log = log or self.home / "postgres.log"
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None
        self._settings = settings or ServerSettings()
        self._identity = choose_identity(self.data)
        self.binaries = runnable_binaries(binaries or find_binaries(os.environ), self._identity, self.home)
        self._lock: IO[str] | None = None
        self._passwords = Passwords("", "", "")

    async def start(self) -> None:
        """Returns when the server answers, with the database and its roles in place. Also after it died."""
        self._take_lock()
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise

    async def _start(self) -> None:
        self._passwords = load_passwords(self.home, self.data)
        if not self.data.exists():
            await asyncio.to_thread(
                init_cluster,
                self.data,
                self.binaries,
                self._identity,
                password=self._passwords.superuser,
                sync=self._settings.sync_new_cluster,
            )
        require_same_version(self.data, self.binaries)
        await clear_leftover(self.data)
        await self._launch_until_ready()
        await ensure_roles(
            self.superuser_url(), owner_password=self._passwords.owner, runtime_password=self._passwords.runtime
        )

    async def stop(self) -> None:
        """Fast shutdown: open transactions are rolled back, what was committed is written. May be repeated."""
        process = self.process
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGINT)
            if not await _ended(process, seconds=60):
                process.send_signal(signal.SIGQUIT)  # immediate: the next start recovers
                await _ended(process, seconds=10)
        self.process = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def died(self) -> bool:
        """True if it was started and is gone."""
        return self.process is not None and self.process.poll() is not None

    def superuser_url(self, database: str = "postgres") -> str:
        return self._url("postgres", self._passwords.superuser, database)

    def owner_url(self) -> str:
        """For migrations and partitions."""
        return self._url(OWNER_ROLE, self._passwords.owner, DATABASE)

    def runtime_url(self) -> str:
        """For the services."""
        return self._url(RUNTIME_ROLE, self._passwords.runtime, DATABASE)

    def _url(self, role: str, password: str, database: str) -> str:
        return f"postgresql://{role}:{password}@127.0.0.1:{self.port}/{database}"

    def _take_lock(self) -> None:
        if self._lock is not None:
            return
        lock = (self.home / "lock").open("a", encoding="utf-8")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise FailedPrecondition(f"another process runs the PostgreSQL server in {self.home}") from None
        self._lock = lock

    async def _launch_until_ready(self) -> None:
        """Again while processes of a dead server still hold its memory, or when the port was taken meanwhile."""
        for _ in range(_START_ATTEMPTS):
            self.port = self.port or choose_port(self.home / "port")  # whoever uses it already keeps the address
            written = self.log.stat().st_size if self.log.exists() else 0
            self.process = self._launch()
            if await self._ready(self.process):
                return
            await asyncio.sleep(0.25)
        complaint = self.log.read_text(encoding="utf-8", errors="replace")[written:].strip()
        raise Unavailable(f"PostgreSQL does not start; the end of {self.log} says: {complaint[-2000:]}")

    def _launch(self) -> subprocess.Popen[bytes]:
        options = {**dict(self._settings.options), "port": str(self.port)}
        options |= {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "timezone": "UTC"}
        arguments = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        with os.fdopen(os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "wb") as log:
            return subprocess.Popen(
                [self.binaries.folder / "postgres", "-D", self.data, *arguments],
                cwd="/",
                env=server_environment(os.environ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a Ctrl-C is for the parent, which stops its clients first
                preexec_fn=die_with_parent(signal.SIGINT),  # noqa: PLW1509 - two system calls, no locks
                **(self._identity.popen_options() if self._identity else {}),
            )

    async def _ready(self, process: subprocess.Popen[bytes]) -> bool:
        for _ in range(int(_RECOVERY_SECONDS / _POLL_SECONDS)):
            if process.poll() is not None:
                return False
            lock = read_lock_file(self.data)
            if lock is not None and lock.pid == process.pid and lock.ready:
                return True
            await asyncio.sleep(_POLL_SECONDS)
        raise Unavailable(f"PostgreSQL is not ready after {_RECOVERY_SECONDS} seconds, see {self.log}")


async def _ended(process: subprocess.Popen[bytes], *, seconds: float) -> bool:
    for _ in range(int(seconds / _POLL_SECONDS)):
        if process.poll() is not None:
            return True
        await asyncio.sleep(_POLL_SECONDS)
    return False
