"""Ports for processes that are about to start, or start again."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from ostinato.storage.embedded import listening_port
from ostinato.storage.embedded.listening_port import choose_port, free_port

EPHEMERAL = range(32_768, 61_000)  # by Linux's default


def test_a_free_port_is_none_that_an_outgoing_connection_may_take() -> None:
    """A service that was killed found its port taken by a connection of somebody else's."""
    assert free_port() not in EPHEMERAL


def test_where_all_of_those_are_taken_any_other_does(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setattr(listening_port, "_NOT_EPHEMERAL", range(port, port + 1))
        monkeypatch.setattr(listening_port, "_ATTEMPTS", 1)
        assert free_port() not in (None, port)
        assert free_port(port) is None


def test_a_chosen_port_is_kept_as_long_as_it_is_free(tmp_path: Path) -> None:
    kept_in = tmp_path / "port"
    first = choose_port(kept_in)
    assert choose_port(kept_in) == first
    with socket.create_server(("127.0.0.1", first)):
        second = choose_port(kept_in)
    assert second != first
    assert choose_port(kept_in) == second
