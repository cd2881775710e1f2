"""Asks a service whether it is ready, and why not."""

from __future__ import annotations

import asyncio
import re

from ostinato.config import split_address

_PATIENCE_SECONDS = 3.0
_STATUS = re.compile(r"HTTP/1\.[01] ([0-9]{3}) ")


async def ask_ready(http_address: str) -> str:
    """Empty when `/readyz` says yes, else the reason why not."""
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            status, body = await _get(http_address, "/readyz")
    except (OSError, TimeoutError, ValueError) as error:
        return f"no answer from {http_address} ({type(error).__name__})"
    return "" if status == 200 else f"{status} {body.strip()[:200]}"


async def _get(address: str, path: str) -> tuple[int, str]:
    """A request that is asked a few times at start does not deserve a client library's start-up time."""
    host, port = split_address(address)
    reader, writer = await asyncio.open_connection(_reachable(host), port)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n".encode())
        head, _, body = (await reader.read()).decode(errors="replace").partition("\r\n\r\n")
    finally:
        writer.close()
    status = _STATUS.match(head)
    if status is None:
        raise ValueError(f"not HTTP: {head[:50]!r}")
    return int(status[1]), body


def _reachable(host: str) -> str:
    """An address that is listened on everywhere is reached on loopback."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
