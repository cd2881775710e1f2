"""A TCP proxy on loopback that fails on command: answers that get lost, a network that swallows everything."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit


class TcpProxy:
    """Forwards between its own port and a server. Build it with `open_tcp_proxy`."""

    def __init__(self, host: str, port: int) -> None:
        self.port = 0
        self._target = (host, port)
        self._flow = asyncio.Event()
        self._flow.set()
        self._refuses = False
        self._swallow_before: bytes | None = None
        self._links: set[asyncio.StreamWriter] = set()

    def url(self, url: str) -> str:
        """The same URL by way of this proxy."""
        parts = urlsplit(url)
        user, at, _ = parts.netloc.rpartition("@")
        return parts._replace(netloc=f"{user}{at}127.0.0.1:{self.port}").geturl()

    def lose_answer_to(self, request: bytes) -> None:
        """When `request` passes, the server gets it, and both connections break before its answer comes through."""
        self._swallow_before = request

    def lose_nothing(self) -> None:
        """Takes back a `lose_answer_to` whose request has not passed."""
        self._swallow_before = None

    def black_hole(self) -> None:
        """Bytes of existing and new connections are held back until `recover`; nobody is told."""
        self._flow.clear()

    def go_down(self) -> None:
        """Closes every connection, and each new one at once, until `recover`."""
        self._refuses = True
        self.break_all()

    def recover(self) -> None:
        self._refuses = False
        self._flow.set()

    def break_all(self) -> None:
        """Closes every connection at once."""
        for link in list(self._links):
            link.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refuses:
            writer.transport.abort()
            return
        try:
            server_reader, server_writer = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        links = {writer, server_writer}
        self._links |= links
        lost = asyncio.Event()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._forward(reader, server_writer, lost, watched=True))
                group.create_task(self._forward(server_reader, writer, lost, watched=False))
        finally:
            self._links -= links
            for link in links:
                link.transport.abort()

    async def _forward(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, lost: asyncio.Event, *, watched: bool
    ) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                await self._flow.wait()
                if watched and self._swallow_before is not None and self._swallow_before in data:
                    self._swallow_before = None
                    lost.set()
                if lost.is_set() and not watched:
                    break  # the answer has arrived here, so the server has done what it was asked
                writer.write(data)
                await writer.drain()
        writer.transport.abort()


@asynccontextmanager
async def open_tcp_proxy(url: str) -> AsyncIterator[TcpProxy]:
    """A proxy to the server that `url` names, for the time of the block."""
    parts = urlsplit(url)
    proxy = TcpProxy(parts.hostname or "127.0.0.1", parts.port or 5432)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        proxy.recover()
        proxy.break_all()
