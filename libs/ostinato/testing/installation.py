"""A whole installation as processes, for tests from outside: `ostinato up` on ports of its own."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from ostinato.cli.up.local_cloud import HTTP_ADDRESS
from ostinato.client import ClientError, open_client
from ostinato.clock import SystemClock
from ostinato.config.cloud_tasks import TASKS_ADDRESS
from ostinato.pb.scheduler.v1.invocations_pb2 import Invocation
from ostinato.storage.embedded.child_process import find_process
from ostinato.storage.embedded.listening_port import free_port
from ostinato.storage.embedded.lock_file import read_lock_file
from ostinato.storage.embedded.placement import POINTER

T = TypeVar("T")
_CLOCK = SystemClock()
_PAUSE = threading.Event()  # never set
SERVICES = ("api", "engine", "ingester")


class RunningInstallation:
    """`ostinato up` as a child process in a folder of its own. Start it with `start`, end it with `stop`.

    `cloud`: its tasks wait in local clouds of its own.
    """

    def __init__(
        self,
        folder: Path,
        *,
        arguments: Sequence[str] = (),
        cloud: bool = False,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.examples = folder / "examples"
        self.data = folder / "data"
        self.example_port = _some_port()
        self._arguments = [*arguments, *(["--cloud"] if cloud else [])]
        self._process: subprocess.Popen[bytes] | None = None
        addresses = {
            f"OSTINATO_{service.upper()}_{kind}_ADDRESS": f"127.0.0.1:{_some_port()}"
            for service in SERVICES
            for kind in ("GRPC", "HTTP")
        }
        if cloud:
            addresses |= {name: f"127.0.0.1:{_some_port()}" for name in (TASKS_ADDRESS, HTTP_ADDRESS)}
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("OSTINATO_", "DATABASE_URL"))}
        self.environ = {**kept, **addresses, "OSTINATO_DATA_DIR": str(self.data), **(environ or {})}
        self.environ["OSTINATO_ADDRESS"] = addresses["OSTINATO_API_GRPC_ADDRESS"]

    def use_examples(self, source: Path, *, port_in_source: int = 9000) -> None:
        """Copies an examples folder, moved to a port of this installation's own."""
        shutil.copytree(source, self.examples)
        for path in self.examples.iterdir():
            text = path.read_text(encoding="utf-8")
            path.write_text(text.replace(f"127.0.0.1:{port_in_source}", f"127.0.0.1:{self.example_port}"))

    def start(self, *, within: float = 60) -> None:
        """Returns when it says that it is running."""
        already = self.output().count("Ostinato is running.")
        self.launch()
        self.until(lambda: self._said_running(already), within=within)

    def launch(self) -> None:
        """Returns at once."""
        command = [_program(), "up", *self._arguments]
        command += ["--examples", str(self.examples)] if self.examples.exists() else ["--no-examples"]
        with (self.folder / "up.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self.folder, env=self.environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def stop(self, *, within: float = 60) -> int:
        """SIGTERM; the exit code."""
        assert self._process
        self._process.terminate()
        return self._process.wait(within)

    def kill(self) -> None:
        """SIGKILL; returns when all that it started is gone, too."""
        assert self._process
        children = self.pids()
        self._process.kill()
        self._process.wait()
        self.until(lambda: not [pid for pid in children if find_process(pid)])

    def output(self) -> str:
        path = self.folder / "up.log"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def log(self, name: str) -> str:
        return (self.data / "logs" / f"{name}.log").read_text(encoding="utf-8", errors="replace")

    def ostinato(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The command line, whatever it answers."""
        command = [_program(), *arguments]
        return subprocess.run(
            command, cwd=self.folder, env=self.environ, check=False, capture_output=True, text=True, timeout=60
        )

    def runs(self, job: str, *, limit: int = 500) -> list[Invocation]:
        """Of `project/job`, newest first. Empty while the api does not answer."""
        with suppress(ClientError):
            return asyncio.run(self._list_runs(job, limit))
        return []

    async def _list_runs(self, job: str, limit: int) -> list[Invocation]:
        project, _, name = job.partition("/")
        found: list[Invocation] = []
        async with open_client(self.environ["OSTINATO_ADDRESS"]) as client:
            async for run in client.list_invocations(f"projects/{project}/jobs/{name}", page_size=min(limit, 500)):
                found.append(run)
                if len(found) == limit:
                    break
        return found

    def until(self, condition: Callable[[], T], *, within: float = 30) -> T:
        """Asks again and again; what it answers when that is true."""
        end = _CLOCK.monotonic() + within
        while not (answer := condition()):
            if _CLOCK.monotonic() > end:
                raise AssertionError(f"not within {within} s; `ostinato up` said:\n{self.output()[-3000:]}")
            _PAUSE.wait(0.1)
        return answer

    def pids(self) -> list[int]:
        """Of everything that `up` started and that lives."""
        assert self._process
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text(encoding="ascii")
        return [int(pid) for pid in children.split() if find_process(int(pid))]

    def pid_of(self, service: str) -> int:
        """Of `api`, `engine`, `ingester` or `postgres`."""
        if service == "postgres":
            lock = read_lock_file(self.postgres_home / "data")
            assert lock
            return lock.pid
        return next(pid for pid in self.pids() if f"ostinato_{service}" in _arguments(pid))

    def kill_service(self, service: str) -> None:
        os.kill(self.pid_of(service), signal.SIGKILL)

    @property
    def postgres_home(self) -> Path:
        pointer = self.data / "postgres" / POINTER
        return Path(pointer.read_text(encoding="utf-8").strip()) if pointer.exists() else pointer.parent

    def remove(self) -> None:
        """Ends what still runs, and removes files that lie elsewhere."""
        if self._process is not None and self._process.poll() is None:
            self.kill()
        if self.postgres_home.parent != self.data:
            shutil.rmtree(self.postgres_home, ignore_errors=True)

    def _said_running(self, already: int) -> bool:
        assert self._process
        if self._process.poll() is not None:
            raise AssertionError(f"`ostinato up` ended with {self._process.returncode}:\n{self.output()[-3000:]}")
        return self.output().count("Ostinato is running.") > already


@contextmanager
def installation(
    folder: Path, *, arguments: Sequence[str] = (), cloud: bool = False, environ: Mapping[str, str] | None = None
) -> Iterator[RunningInstallation]:
    """Not started yet; whatever runs at the end of the block is ended."""
    running = RunningInstallation(folder, arguments=arguments, cloud=cloud, environ=environ)
    try:
        yield running
    finally:
        running.remove()


def _program() -> str:
    return str(Path(sys.executable).parent / "ostinato")


def _arguments(pid: int) -> tuple[str, ...]:
    facts = find_process(pid)
    return facts.arguments if facts else ()


def _some_port() -> int:
    port = free_port()
    assert port
    return port
