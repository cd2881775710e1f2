"""Builds the gRPC server of a process: health per service, reflection, limits, keepalive, and a graceful end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer
from grpc_reflection.v1alpha import reflection

from ostinato.rpc.call_interceptor import MAX_REQUEST_BYTES, CallInterceptor
from ostinato.rpc.running_streams import RunningStreams
from ostinato.rpc.unsent_answers import tell_unsent_answers

MAX_CONCURRENT_CALLS = 1000
_SERVING = health_pb2.HealthCheckResponse.SERVING

_OPTIONS = (
    # What is a little too large is read, so that it can be refused with a reason; what is far too large is not.
    ("grpc.max_receive_message_length", 4 * MAX_REQUEST_BYTES),
    ("grpc.max_send_message_length", -1),
    # Two processes must not share an address unnoticed.
    ("grpc.so_reuseport", 0),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.http2.max_ping_strikes", 5),
    # Connections are renewed now and then, so that a new replica gets its share.
    ("grpc.max_connection_age_ms", 30 * 60_000),
    ("grpc.max_connection_age_grace_ms", 2 * 60_000),
)


@dataclass(frozen=True, slots=True)
class GrpcService:
    """A service by its full name; `add` registers its servicer: `partial(add_…Servicer_to_server, servicer)`."""

    name: str
    add: Callable[[grpc.aio.Server], None]


class GrpcServer:
    """A serving server. `address` has the real port, also when port 0 was asked for."""

    def __init__(
        self, server: grpc.aio.Server, health: HealthServicer, address: str, streams: Sequence[RunningStreams] = ()
    ) -> None:
        self.address = address
        self._server = server
        self._health = health
        self._streams = streams

    async def drain(self) -> None:
        """Health says NOT_SERVING from now on; calls are still answered."""
        await self._health.enter_graceful_shutdown()

    async def stop(self, grace: timedelta) -> None:
        """Takes no new calls; the running ones get `grace`, then they are cancelled. Streams end at once."""
        await self.drain()
        for streams in self._streams:
            streams.drain()
        await self._server.stop(grace.total_seconds())


@asynccontextmanager
async def open_grpc_server(
    address: str,
    services: Sequence[GrpcService],
    *,
    interceptors: Sequence[grpc.aio.ServerInterceptor],
    grace: timedelta = timedelta(seconds=20),
) -> AsyncIterator[GrpcServer]:
    """Serves on `address` (HOST:PORT) during the block and stops gracefully at its end.

    Raises OSError when the address can't be bound.
    """
    tell_unsent_answers()
    server = grpc.aio.server(interceptors=interceptors, options=_OPTIONS, maximum_concurrent_rpcs=MAX_CONCURRENT_CALLS)
    for service in services:
        service.add(server)
    health = HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(health, server)
    reflection.enable_server_reflection(
        [service.name for service in services] + ["grpc.health.v1.Health", reflection.SERVICE_NAME], server
    )
    streams = [interceptor.streams for interceptor in interceptors if isinstance(interceptor, CallInterceptor)]
    opened = GrpcServer(server, health, _bind(server, address), streams)
    await server.start()
    try:
        for service in services:
            await health.set(service.name, _SERVING)
        yield opened
    finally:
        await opened.stop(grace)


def _bind(server: grpc.aio.Server, address: str) -> str:
    try:
        port = server.add_insecure_port(address)
    except RuntimeError as error:
        raise OSError(f"can't listen on {address}: {error}") from None
    return f"{address.rpartition(':')[0]}:{port}"
