"""Asking a service whether it is ready."""

from __future__ import annotations

import asyncio

import pytest

from ostinato.cli.up.readiness import ask_ready
from ostinato.rpc.http_endpoint import NotReadyError, open_http_endpoint


async def ready() -> None:
    pass


async def not_ready() -> None:
    raise NotReadyError("waiting for the schema")


async def test_a_ready_service_has_nothing_to_say() -> None:
    async with open_http_endpoint("127.0.0.1:0", ready=ready) as endpoint:
        assert await ask_ready(endpoint.address) == ""


async def test_another_tells_why_not() -> None:
    async with open_http_endpoint("127.0.0.1:0", ready=not_ready) as endpoint:
        reason = await ask_ready(endpoint.address)
    assert reason.startswith("503")
    assert "waiting for the schema" in reason


async def test_nobody_there_is_a_reason() -> None:
    assert await ask_ready("127.0.0.1:1") == "no answer from 127.0.0.1:1 (ConnectionRefusedError)"


async def test_one_listening_everywhere_is_asked_on_loopback() -> None:
    async with open_http_endpoint("0.0.0.0:0", ready=ready) as endpoint:
        assert await ask_ready(f"0.0.0.0:{endpoint.address.rpartition(':')[2]}") == ""


@pytest.mark.parametrize("answer", [b"nonsense\r\n\r\n", b""])
async def test_something_else_at_that_port_is_a_reason(answer: bytes) -> None:
    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        assert (await ask_ready(f"127.0.0.1:{port}")).startswith("no answer from")
