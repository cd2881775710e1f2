"""The local Cloud Tasks as a child process, with one paused queue: what is submitted stays there, nothing is pushed."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from google.cloud import tasks_v2

from benchmarks import processor_time
from benchmarks.sides.remote import QUEUE, cloud_settings
from ostinato.storage.embedded.child_process import die_with_parent
from ostinato.taskqueue.cloud_tasks.cloud_client import open_cloud_client
from ostinato.taskqueue.cloud_tasks.remote_names import location_path, queue_path

_PATIENCE = 30.0


@dataclass(frozen=True, slots=True)
class CloudProcess:
    """Build it with `open_cloud`: its process never outlives the block."""

    address: str
    issuer: str
    jwks_url: str
    pid: int

    @property
    def processor_seconds(self) -> float | None:
        return processor_time.of_process(self.pid)


@asynccontextmanager
async def open_cloud(log: Path, *arguments: str) -> AsyncIterator[CloudProcess]:
    """Empty, but for the queue."""
    with log.open("ab") as file:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "ostinato.localcloud", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0", *arguments),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=file,
            preexec_fn=die_with_parent(signal.SIGKILL),
        )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(_PATIENCE):
            told = json.loads(await process.stdout.readline())
        await _make_queue(told["grpc"])
        yield CloudProcess(told["grpc"], told["issuer"], told["jwks_url"], process.pid)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _make_queue(address: str) -> None:
    settings = cloud_settings(address)
    location = location_path(settings.project, settings.location)
    queue = tasks_v2.Queue(name=queue_path(settings.project, settings.location, QUEUE))
    async with open_cloud_client(settings) as client:
        await client.create_queue(parent=location, queue=queue)
        await client.pause_queue(name=queue.name)
