"""A driver as a child process: started, told to go, read and ended by its handle."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

from benchmarks import processor_time

ROOT = Path(__file__).resolve().parents[1]
_PATIENCE = 120.0  # for any single answer; a driver that needs longer is broken
_LONGEST_LINE = 1 << 26


class DriverFailedError(Exception):
    """A driver ended without an answer; what it complained about is on stderr."""


class Driver:
    """Build it with `open_driver`: its process never outlives the block."""

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self.name = name
        self._process = process

    @property
    def processor_seconds(self) -> float | None:
        return processor_time.of_process(self.pid)

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, command: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\n".encode())

    async def answer(self, *, lasts: float = 0.0) -> dict[str, Any]:
        """The driver's next line, after what lasts that many seconds by itself."""
        assert self._process.stdout is not None
        async with asyncio.timeout(_PATIENCE + lasts):
            line = await self._process.stdout.readline()
        if not line:
            raise DriverFailedError(f"driver {self.name} ended with {await self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    async def run(self, *, lasts: float = 0.0) -> dict[str, Any]:
        """Goes and waits for the result."""
        self.send("go")
        return await self.answer(lasts=lasts)

    async def stop(self) -> dict[str, Any]:
        """Ends a worker; returns what it logged."""
        self.send("stop")
        return await self.answer()

    async def crash(self) -> None:
        """As a machine that loses power: no goodbye."""
        self._process.send_signal(signal.SIGKILL)
        await self._process.wait()


def open_driver(side: str, operation: str, url: str, **arguments: object) -> AbstractAsyncContextManager[Driver]:
    """Entered when the driver has its connections and waits for `go`."""
    return _open_process("benchmarks.driver", side, operation, {"url": url, **arguments})


def open_remote_driver(side: str, operation: str, url: str, **arguments: object) -> AbstractAsyncContextManager[Driver]:
    """The same for what goes to a remote queue."""
    return _open_process("benchmarks.remote_driver", side, operation, {"url": url, **arguments})


@asynccontextmanager
async def _open_process(module: str, side: str, operation: str, arguments: dict[str, object]) -> AsyncIterator[Driver]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        module,
        side,
        operation,
        json.dumps(arguments),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=_LONGEST_LINE,
    )
    try:
        driver = Driver(f"{side} {operation}", process)
        await driver.answer()
        yield driver
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
