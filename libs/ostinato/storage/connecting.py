"""How a connection is made so that neither side waits long for the other one after it has vanished.

A process that hangs in the middle of a transaction loses its session, and with it its locks, after a while: others
wait for them. A network that swallows everything is noticed by both kernels within ten seconds.
"""

from __future__ import annotations

import socket
from datetime import timedelta
from typing import Any, Final

import asyncpg

from ostinato.config.database import DatabaseSettings
from ostinato.storage.remembered_types import RememberingConnection
from ostinato.storage.transaction import Row

_CONNECT_SECONDS = 10
_NETWORK_ALLOWANCE = timedelta(seconds=5)
# Silence of so many seconds, then so many probes that far apart: together less than the ten.
_KEEPALIVE_IDLE, _KEEPALIVE_INTERVAL, _KEEPALIVE_COUNT = 4, 2, 2
_UNACKNOWLEDGED_MS = 8000

# By name, for what not every system has.
_SOCKET_OPTIONS: Final = (
    ("TCP_KEEPIDLE", _KEEPALIVE_IDLE),
    ("TCP_KEEPINTVL", _KEEPALIVE_INTERVAL),
    ("TCP_KEEPCNT", _KEEPALIVE_COUNT),
    ("TCP_USER_TIMEOUT", _UNACKNOWLEDGED_MS),
)


async def dial(*args: Any, **kwargs: Any) -> asyncpg.Connection[Row]:
    """`asyncpg.connect`, and the kernel is asked to notice a peer that is gone."""
    connection: asyncpg.Connection[Row] = await asyncpg.connect(*args, **kwargs)
    notice_lost_peer(socket_of(connection))
    return connection


def connect_options(settings: DatabaseSettings) -> dict[str, Any]:
    """What `asyncpg.connect` is told besides the address."""
    options: dict[str, Any] = {
        "timeout": _CONNECT_SECONDS,
        "server_settings": _server_settings(settings),
        "connection_class": RememberingConnection,
    }
    # The server ends a slow statement by itself; this is for one that nobody answers any more.
    options["command_timeout"] = (settings.statement_timeout + _NETWORK_ALLOWANCE).total_seconds()
    if not settings.prepared_statements:
        options["statement_cache_size"] = 0
    return options


def notice_lost_peer(connected: socket.socket) -> None:
    """Does nothing for sockets of this machine that are not TCP."""
    if connected.family not in (socket.AF_INET, socket.AF_INET6):
        return
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _SOCKET_OPTIONS:
        if (option := getattr(socket, name, None)) is not None:
            connected.setsockopt(socket.IPPROTO_TCP, option, value)


def socket_of(connection: asyncpg.Connection[Row]) -> socket.socket:
    """The driver has no public way to it."""
    found: socket.socket = connection._transport.get_extra_info("socket")  # type: ignore[attr-defined]  # noqa: SLF001
    return found


def _server_settings(settings: DatabaseSettings) -> dict[str, str]:
    if not settings.prepared_statements:
        return {}  # pgbouncer refuses start-up parameters that it does not know
    told = {
        "application_name": settings.application_name,
        "statement_timeout": _milliseconds(settings.statement_timeout),
        "lock_timeout": _milliseconds(settings.lock_timeout),
        "idle_in_transaction_session_timeout": _milliseconds(settings.idle_transaction_timeout),
        "tcp_keepalives_idle": str(_KEEPALIVE_IDLE),
        "tcp_keepalives_interval": str(_KEEPALIVE_INTERVAL),
        "tcp_keepalives_count": str(_KEEPALIVE_COUNT),
        "tcp_user_timeout": str(_UNACKNOWLEDGED_MS),
        "jit": "off",
    }
    if settings.plans_anew:
        told["plan_cache_mode"] = "force_custom_plan"
        told["enable_seqscan"] = "off"
    return told


def _milliseconds(duration: timedelta) -> str:
    return str(int(duration.total_seconds() * 1000))
