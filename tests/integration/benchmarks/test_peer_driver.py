"""The driver for other harnesses speaks their line protocol."""

from __future__ import annotations

import asyncio
import json
import struct
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from benchmarks import peer_driver
from benchmarks.driver_process import ROOT

PLUGIN = json.loads((ROOT / "benchmarks" / "peer.json").read_text())["ostinato"]
COUNT = struct.Struct("<Q")


@pytest.fixture
async def environ(empty_database_url: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    parts = urlsplit(empty_database_url)
    environ = {
        "PGHOST": parts.hostname or "",
        "PGPORT": str(parts.port),
        "PGUSER": parts.username or "",
        "PGPASSWORD": parts.password or "",
        "PGDATABASE": parts.path.removeprefix("/"),
    }
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    await peer_driver.setup()
    return environ


@asynccontextmanager
async def driver(operation: str, **arguments: object) -> AsyncIterator[asyncio.subprocess.Process]:
    """Ready for its first line."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *PLUGIN[0][1:],
        "ostinato",
        operation,
        json.dumps(arguments),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert await line_of(process) == "READY"
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def line_of(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(30):
        return (await process.stdout.readline()).decode().strip()


async def told(process: asyncio.subprocess.Process) -> str:
    """The answer to the next line."""
    assert process.stdin is not None
    process.stdin.write(b"GO\n")
    return await line_of(process)


async def pending(environ: dict[str, str], sql: str = PLUGIN[1]) -> int:
    connection = await asyncpg.connect(peer_driver.database_url(), password=environ["PGPASSWORD"] or None)
    try:
        return int(await connection.fetchval(sql))
    finally:
        await connection.close()


@pytest.mark.parametrize(
    ("operation", "arguments", "added"),
    [
        ("enqueue", {"n": 7, "conc": 2}, 7),
        ("bulk", {"n": 25, "batch": 10}, 25),
        ("txn", {"n": 6, "conc": 2, "enqueue": True}, 6),
        ("txn", {"n": 6, "conc": 2, "enqueue": False}, 0),
    ],
)
async def test_what_is_timed_is_done_and_told(
    environ: dict[str, str], operation: str, arguments: dict[str, object], added: int
) -> None:
    async with driver(operation, **arguments) as process:
        word, _, answer = (await told(process)).partition(" ")
        assert word == "DONE"
        assert json.loads(answer).keys() == {"s", "cpu"}
        assert await pending(environ) == added


async def test_a_worker_counts_logs_and_stops(environ: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "counter"
    async with driver("bulk", n=12) as process:
        await told(process)
    async with driver("work", path=str(path), log=True) as process:
        assert process.stdin is not None
        process.stdin.write(b"GO\n")
        async with asyncio.timeout(30):
            while await pending(environ):
                await asyncio.sleep(0.01)
        assert (await told(process)).startswith("DONE")
    assert COUNT.unpack_from(path.read_bytes())[0] == 12
    logged = json.loads(path.with_suffix(".log").read_text())
    assert sorted(number for number, _ in logged) == list(range(12))


async def test_a_producer_writes_when_each_add_returned(environ: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "produced"
    async with driver("produce", rate=50, seconds=0.2, path=str(path)) as process:
        assert (await told(process)).startswith("DONE")
        process.stdin.close()  # type: ignore[union-attr]
        await process.wait()
    written = [number for number, before, after in json.loads(path.read_text()) if before <= after]
    assert sorted(written) == list(range(10))  # in the order in which they returned
    assert await pending(environ) == 10


async def test_the_rows_of_growth_are_future_tasks(environ: dict[str, str]) -> None:
    grow = PLUGIN[3]["grow"]["future"].replace("{n}", "5")
    await pending(environ, f"with added as ({grow} returning 1) select count(*) from added")
    assert await pending(environ, "select count(*) from tq_later where due_at > now() + interval '29 days'") == 5
