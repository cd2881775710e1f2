"""A TCP port on loopback that stays the same over restarts as long as nobody else takes it."""

from __future__ import annotations

import socket
from pathlib import Path
from random import SystemRandom

from ostinato.errors import Unavailable

# What systems give to outgoing connections lies above. One of those may take a port that nobody listens on just now:
# between the choice and the start, or while a process that was killed starts again.
_NOT_EPHEMERAL = range(15_000, 32_000)
_ATTEMPTS = 50


def choose_port(kept_in: Path) -> int:
    """The port in the file `kept_in` if it is free, else a free one, which is then kept there."""
    kept = int(kept_in.read_text(encoding="utf-8")) if kept_in.exists() else 0
    for wanted in (kept, 0):
        if (port := free_port(wanted)) is not None:
            kept_in.write_text(f"{port}\n", encoding="utf-8")
            return port
    raise Unavailable("there is no free TCP port on 127.0.0.1")


def free_port(wanted: int = 0) -> int | None:
    """`wanted` if it can be listened on now; 0 stands for any."""
    if not wanted:
        for port in SystemRandom().sample(_NOT_EPHEMERAL, _ATTEMPTS):
            if _can_listen_on(port):
                return port
    return _can_listen_on(wanted)


def _can_listen_on(wanted: int) -> int | None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError:
            return None
        port: int = probe.getsockname()[1]
        return port
