"""`python -m ostinato_ingester` as a process: it starts, drains on a signal, and refuses bad settings."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process

import pytest

from ostinato.storage.embedded.listening_port import free_port
from ostinato_ingester.main import Ingester
from tests.integration.ingester.running_work import SECRET, notify_http


def environment(database_url: str, **settings: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OSTINATO_")}
    return kept | {"OSTINATO_DATABASE_URL": database_url, "OSTINATO_SECRET": SECRET.hex()} | settings


async def start(*arguments: str, env: dict[str, str]) -> Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ostinato_ingester", *arguments, env=env, stdout=PIPE, stderr=PIPE
    )


async def logged(process: Process, event: str) -> None:
    """Reads log lines until one says `event`."""
    assert process.stderr
    async with asyncio.timeout(20):
        while line := await process.stderr.readline():
            if json.loads(line)["event"] == event:
                return
    raise AssertionError(f"the process never logged {event!r}")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_serves_until_a_signal_and_then_ends_with_0(database_url: str, number: signal.Signals) -> None:
    ingester = Ingester(grpc_address=f"127.0.0.1:{free_port()}", http_address=f"127.0.0.1:{free_port()}")
    env = environment(
        database_url,
        OSTINATO_INGESTER_GRPC_ADDRESS=ingester.grpc_address,
        OSTINATO_INGESTER_HTTP_ADDRESS=ingester.http_address,
    )
    process = await start(env=env)
    await logged(process, "serving")
    assert (await notify_http(ingester, {"status": "SUCCEEDED"})).status == 204
    process.send_signal(number)
    await logged(process, "stopped")
    assert await process.wait() == 0


async def test_a_signal_ends_it_while_it_waits_for_its_database() -> None:
    nobody = "postgresql://postgres@127.0.0.1:1/postgres"
    process = await start(
        env=environment(
            nobody, OSTINATO_INGESTER_GRPC_ADDRESS="127.0.0.1:0", OSTINATO_INGESTER_HTTP_ADDRESS="127.0.0.1:0"
        )
    )
    assert process.stderr
    assert b"waiting: database" in await process.stderr.readline()
    process.terminate()
    await logged(process, "stopped")
    assert await process.wait() == 0


async def test_an_address_in_use_ends_it_with_1_and_one_log_line(database_url: str, ingester: Ingester) -> None:
    process = await start(env=environment(database_url, OSTINATO_INGESTER_HTTP_ADDRESS=ingester.http_address))
    _, errors = await process.communicate()
    assert process.returncode == 1
    (line,) = errors.splitlines()
    assert "address already in use" in json.loads(line)["event"]


async def test_invalid_settings_end_it_with_2_and_name_every_variable(database_url: str) -> None:
    env = environment(database_url, OSTINATO_SECRET="short", OSTINATO_INGESTER_GRPC_ADDRESS="0.0.0.0:7072")
    process = await start(env=env)
    _, errors = await process.communicate()
    assert process.returncode == 2
    assert {line.partition(b":")[0] for line in errors.splitlines()} == {
        b"OSTINATO_SECRET",
        b"OSTINATO_INGESTER_GRPC_ADDRESS",
    }


async def test_the_settings_can_be_checked_without_starting(database_url: str) -> None:
    process = await start("--check-config", env=environment(database_url))
    output, _ = await process.communicate()
    assert process.returncode == 0
    assert b"http_address = 127.0.0.1:7082" in output
    assert SECRET.hex().encode() not in output
