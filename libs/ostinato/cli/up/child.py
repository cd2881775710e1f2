"""One child process that is started again whenever it dies, and told to end when the installation does."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from ostinato.cli.up.data_directory import DataDirectory
from ostinato.cli.up.restart_policy import deaths_in_a_row, decide_restart_delay
from ostinato.clock import Clock
from ostinato.storage.embedded.child_process import die_with_parent

Say = Callable[[str], None]

_POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """What to run. `grace` is how long it may take to end after SIGTERM."""

    name: str
    arguments: tuple[str, ...]
    environ: Mapping[str, str]
    grace: timedelta = timedelta(seconds=5)
    http_address: str = ""  # where /readyz is; empty: ready once it runs


class Child:
    """`watch` is to be called again and again; everything else follows from it."""

    def __init__(self, spec: ChildSpec, directory: DataDirectory, clock: Clock, say: Say) -> None:
        self.spec = spec
        self._directory = directory
        self._clock = clock
        self._say = say
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0
        self._start_again_at: float | None = None
        self._deaths = 0

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process and self._process.poll() is None else None

    def start(self) -> None:
        log = self._directory.open_log(self.spec.name)
        try:
            self._process = subprocess.Popen(
                self.spec.arguments,
                env={**self.spec.environ, "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # a Ctrl-C in the terminal is ours to pass on, in order
                preexec_fn=die_with_parent(signal.SIGTERM),  # noqa: PLW1509 - two system calls, no locks
            )
        finally:
            os.close(log)
        self._started_at = self._clock.monotonic()
        self._start_again_at = None

    def watch(self) -> None:
        """Notices a death, and starts again when the delay is over."""
        if self._process is None or self._process.poll() is None:
            return
        if self._start_again_at is None:
            self._note_death(self._process.returncode)
        elif self._clock.monotonic() >= self._start_again_at:
            self._say(f"{self.spec.name}: starting again")
            self.start()

    async def stop(self) -> None:
        """SIGTERM, the grace, SIGKILL. May be repeated."""
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.terminate()
        if not await self._ended(process):
            self._say(f"{self.spec.name}: still running after {self.spec.grace.total_seconds():g} s, killed")
            process.kill()
            await self._ended(process)

    def kill(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()

    async def _ended(self, process: subprocess.Popen[bytes]) -> bool:
        for _ in range(int(self.spec.grace.total_seconds() / _POLL_SECONDS) + 1):
            if process.poll() is not None:
                return True
            await asyncio.sleep(_POLL_SECONDS)
        return False

    def _note_death(self, code: int) -> None:
        now = self._clock.monotonic()
        self._deaths = deaths_in_a_row(self._deaths, timedelta(seconds=now - self._started_at))
        delay = decide_restart_delay(self._deaths)
        self._start_again_at = now + delay.total_seconds()
        log = self._directory.logs / f"{self.spec.name}.log"
        self._say(f"{self.spec.name}: {told_exit(code)}, starts again in {delay.total_seconds():g} s, see {log}")


def told_exit(code: int) -> str:
    """`was killed by SIGKILL`, `ended with exit code 1`."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"
