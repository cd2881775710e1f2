"""The services as child processes that are started again whenever they end, and what may be done to them."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import sys
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from ostinato.cli.up.child import told_exit
from ostinato.cli.up.readiness import ask_ready
from ostinato.storage.embedded.child_process import die_with_parent
from ostinato.storage.embedded.listening_port import free_port

GRACE_SECONDS = 5
_AFTER_GRACE = 10.0
_SECRET = secrets.token_hex(32)


class Journal:
    """What was done and seen during the run; line by line in a file of its own, too."""

    def __init__(self, path: Path) -> None:
        self.faults: Counter[str] = Counter()
        self.starts: Counter[str] = Counter()
        self.complaints: list[str] = []
        self._path = path

    def note(self, text: str) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(f"{datetime.now(UTC):%H:%M:%S.%f} {text}\n")

    def complain(self, text: str) -> None:
        self.complaints.append(text)
        self.note(f"COMPLAINT: {text}")


class Service:
    """One process of the installation, and its successors: they keep its addresses and its log."""

    def __init__(self, name: str, common: Mapping[str, str], folder: Path, journal: Journal) -> None:
        self.name = name
        self.kind = name.partition("-")[0]
        self.grpc_address, self.http_address = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
        self.log = folder / f"{name}.log"
        self.frozen = False
        self._prefix = f"OSTINATO_{self.kind.upper()}_"
        self._environ = {
            **common,
            f"{self._prefix}GRPC_ADDRESS": self.grpc_address,
            f"{self._prefix}HTTP_ADDRESS": self.http_address,
            f"{self._prefix}SHUTDOWN_GRACE": str(GRACE_SECONDS),
        }
        self._journal = journal
        self._process: asyncio.subprocess.Process | None = None
        self._away = 0.0
        self._sent: signal.Signals | None = None  # to the process that runs
        self.leaving = False

    async def keep_running(self) -> None:
        """Until it is left, or cancelled: then the process is killed."""
        try:
            while not self.leaving:
                await self._run_once()
                await asyncio.sleep(self._away)
        finally:
            if self._process is not None and self._process.returncode is None:
                self._process.kill()
                await self._process.wait()

    def kill(self, *, away: float) -> None:
        self._end(signal.SIGKILL, away)

    def ask_to_end(self, *, away: float) -> None:
        """SIGTERM. It has to be gone, with exit code 0, soon after its grace."""
        process = self._end(signal.SIGTERM, away)
        if process is not None:
            asyncio.get_running_loop().call_later(GRACE_SECONDS + _AFTER_GRACE, self._check_gone, process)

    def leave(self) -> None:
        """For good."""
        self.leaving = True
        self.ask_to_end(away=0)

    async def freeze(self, seconds: float) -> None:
        """SIGSTOP, and SIGCONT to the same process if it is still there."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        self.frozen = True
        process.send_signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            self.frozen = False
            if process.returncode is None:
                process.send_signal(signal.SIGCONT)

    async def until_ready(self) -> None:
        while await ask_ready(self.http_address):
            await asyncio.sleep(0.1)

    async def _run_once(self) -> None:
        self._sent = None
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",
                "-m",
                f"ostinato_{self.kind}",
                env=self._environ,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=die_with_parent(signal.SIGKILL),
            )
        self._journal.starts[self.kind] += 1
        self._journal.note(f"{self.name} started")
        self._judge(await self._process.wait())

    def _judge(self, code: int) -> None:
        self._journal.note(f"{self.name} {told_exit(code)}")
        if self._sent is None:
            told = f"{self.name} {told_exit(code)} though nobody had asked for it"
            self._journal.complain(f"{told}, and said last: {self._last_words()}")
        # Before it listens for the signal, SIGTERM ends a process the hard way.
        elif self._sent is signal.SIGTERM and code not in (0, -signal.SIGTERM, -signal.SIGKILL):
            self._journal.complain(f"{self.name} {told_exit(code)} after SIGTERM")

    def _last_words(self) -> str:
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return lines[-1] if lines else "nothing"

    def _end(self, number: signal.Signals, away: float) -> asyncio.subprocess.Process | None:
        if self._process is None or self._process.returncode is not None:
            return None
        self._away, self._sent = away, number
        self._process.send_signal(number)
        return self._process

    def _check_gone(self, process: asyncio.subprocess.Process) -> None:
        if process.returncode is None and process is self._process:
            self._journal.complain(f"{self.name} was still there {_AFTER_GRACE:g} s after its grace")
            process.kill()


def common_environ(url: str, maintenance_url: str) -> dict[str, str]:
    """What all services are told, whatever the environment of this process says."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OSTINATO_", "DATABASE_URL"))}
    return kept | {
        "OSTINATO_DATABASE_URL": url,
        "OSTINATO_MAINTENANCE_DATABASE_URL": maintenance_url,
        "OSTINATO_SECRET": _SECRET,
        "OSTINATO_LOG_LEVEL": "info",
        "PYTHONFAULTHANDLER": "1",
        "PYTHONUNBUFFERED": "1",
    }
