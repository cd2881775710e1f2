"""The scheduler's services as child processes on free loopback ports."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from benchmarks import processor_time
from benchmarks.resident_memory import resident_megabytes
from ostinato.storage.embedded.child_process import die_with_parent
from ostinato.storage.embedded.listening_port import free_port

_SECRET = secrets.token_hex(32)
_PATIENCE = 30.0


@dataclass(frozen=True, slots=True)
class Service:
    """Build it with `open_service`: its process never outlives the block."""

    grpc_address: str
    http_address: str
    pid: int

    @property
    def processor_seconds(self) -> float | None:
        return processor_time.of_process(self.pid)

    @property
    def memory_megabytes(self) -> float | None:
        """Resident now; None where the system does not tell."""
        return resident_megabytes(self.pid)


@asynccontextmanager
async def open_service(
    name: str, url: str, log: Path, *, http_address: str = "", settings: Mapping[str, str] | None = None
) -> AsyncIterator[Service]:
    """`name` is api or engine. Returns when it says that it is ready; what it logs goes to `log`."""
    grpc_address, http_address = f"127.0.0.1:{free_port()}", http_address or f"127.0.0.1:{free_port()}"
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("OSTINATO_", "DATABASE_URL"))}
    environ = kept | {
        "OSTINATO_DATABASE_URL": url,
        "OSTINATO_SECRET": _SECRET,
        "OSTINATO_LOG_LEVEL": "warning",
        f"OSTINATO_{name.upper()}_GRPC_ADDRESS": grpc_address,
        f"OSTINATO_{name.upper()}_HTTP_ADDRESS": http_address,
        **(settings or {}),
    }
    with log.open("ab") as file:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            f"ostinato_{name}",
            env=environ,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            preexec_fn=die_with_parent(signal.SIGKILL),
        )
    try:
        await _until_ready(process, http_address, log)
        yield Service(grpc_address, http_address, process.pid)
    finally:
        if process.returncode is None:
            process.kill()  # its database is about to be dropped: there is nothing to drain for
        await process.wait()


async def _until_ready(process: asyncio.subprocess.Process, http_address: str, log: Path) -> None:
    async with asyncio.timeout(_PATIENCE), aiohttp.ClientSession() as session:
        while not await _is_ready(session, http_address):
            if process.returncode is not None:
                raise RuntimeError(f"a service did not start, its last words: {_end_of(log)}")
            await asyncio.sleep(0.05)


async def _is_ready(session: aiohttp.ClientSession, http_address: str) -> bool:
    try:
        async with session.get(f"http://{http_address}/readyz") as answer:
            return answer.status == 200
    except aiohttp.ClientConnectionError:
        return False


def _end_of(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")[-2000:]
