"""The PostgreSQL server that `make run` and the tests start: it comes up again after everything that can happen."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest

from ostinato.errors import FailedPrecondition
from ostinato.storage.embedded.child_process import find_process
from ostinato.storage.embedded.lock_file import read_lock_file
from ostinato.storage.embedded.server import EmbeddedServer, ServerSettings
from ostinato.testing.server import temporary_home

# A killed process loses nothing that it handed to the operating system, so there is no need for fsync here.
FAST = ServerSettings((("fsync", "off"),), sync_new_cluster=False)


@pytest.fixture
def home() -> Iterator[Path]:
    with temporary_home() as path:
        yield path


@pytest.fixture(scope="module")
def used_home() -> Iterator[Path]:
    """A server's files after a first start and stop: copying them is quicker than a first start for each test."""
    with temporary_home() as path:
        server = EmbeddedServer(path, FAST)
        asyncio.run(server.start())
        asyncio.run(server.stop())
        (path / "port").unlink()
        yield path


@pytest.fixture
def copied_home(home: Path, used_home: Path) -> Path:
    subprocess.run(["cp", "-a", f"{used_home}/.", home], check=True)
    return home


@pytest.fixture
async def server(copied_home: Path) -> AsyncIterator[EmbeddedServer]:
    started = EmbeddedServer(copied_home, FAST)
    await started.start()
    yield started
    await started.stop()


async def ask(url: str, statement: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


async def remember(server: EmbeddedServer) -> None:
    await ask(server.owner_url(), "create table kept as select 42 as answer")


async def remembers(server: EmbeddedServer) -> bool:
    return await ask(server.owner_url(), "select answer from kept") == 42


def process_that_is_a(holder: str) -> subprocess.Popen[bytes]:
    """`stranger` lives, `zombie` is dead but not reaped, `nobody` is gone."""
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    if holder == "zombie":
        other.kill()
        os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)
    if holder == "nobody":
        other.communicate(b"\n")
    return other


PARENT = """
import asyncio, sys
from pathlib import Path
from ostinato.storage.embedded.server import EmbeddedServer, ServerSettings
server = EmbeddedServer(Path(sys.argv[1]), ServerSettings.fast())
asyncio.run(server.start())
print(server.process.pid, flush=True)
input()
"""


def parent_of_a_server(home: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PARENT, str(home)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def kill(server: EmbeddedServer) -> None:
    assert server.process
    server.process.kill()
    server.process.wait()


async def test_by_default_a_commit_survives_the_power(home: Path) -> None:
    server = EmbeddedServer(home)
    await server.start()
    try:
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            assert await ask(server.runtime_url(), f"show {setting}") == "on"
    finally:
        await server.stop()


async def test_it_listens_on_loopback_only_and_asks_for_passwords(server: EmbeddedServer) -> None:
    assert await ask(server.superuser_url(), "show listen_addresses") == "127.0.0.1"
    assert await ask(server.superuser_url(), "show unix_socket_directories") == ""
    for role in ("postgres", "ostinato", "ostinato_owner"):
        with pytest.raises(asyncpg.InvalidPasswordError):
            await ask(f"postgresql://{role}:guess@127.0.0.1:{server.port}/ostinato", "select 1")


async def test_its_passwords_are_for_its_owner_only(server: EmbeddedServer) -> None:
    assert (server.home / "passwords.json").stat().st_mode & 0o777 == 0o600
    assert server.data.stat().st_mode & 0o077 == 0
    assert not (server.home / "initdb-password").exists()


async def test_the_runtime_role_changes_no_structure(server: EmbeddedServer) -> None:
    await remember(server)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await ask(server.runtime_url(), "create table mine (id int)")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await ask(server.runtime_url(), "drop table kept")


async def test_a_restart_keeps_data_and_port(server: EmbeddedServer) -> None:
    await remember(server)
    port = server.port
    await server.stop()
    again = EmbeddedServer(server.home, FAST)
    await again.start()
    assert again.port == port
    assert await remembers(again)
    await again.stop()


async def test_after_a_kill_the_same_parent_starts_it_again(server: EmbeddedServer) -> None:
    await remember(server)
    kill(server)
    assert server.died()
    await server.start()
    assert not server.died()
    assert await remembers(server)


async def test_a_busy_session_of_a_killed_server_delays_the_next_start_but_does_not_break_it(
    server: EmbeddedServer,
) -> None:
    await remember(server)
    busy = await asyncpg.connect(server.superuser_url())
    backend = await busy.fetchval("select pg_backend_pid()")
    os.kill(backend, signal.SIGSTOP)  # it can't notice its server's death
    kill(server)
    os.kill(backend, signal.SIGCONT)
    await server.start()
    assert await remembers(server)
    busy.terminate()


async def test_a_taken_port_is_exchanged_for_another(server: EmbeddedServer) -> None:
    await remember(server)
    await server.stop()
    with socket.create_server(("127.0.0.1", server.port)) as taken:
        again = EmbeddedServer(server.home, FAST)
        await again.start()
        assert again.port != taken.getsockname()[1]
    assert await remembers(again)
    await again.stop()


@pytest.mark.parametrize("holder", ["stranger", "zombie", "nobody"])
async def test_a_stale_lock_file_is_seen_through(server: EmbeddedServer, holder: str) -> None:
    await remember(server)
    kill(server)
    other = process_that_is_a(holder)
    lock = server.data / "postmaster.pid"
    lock.write_text("\n".join([str(other.pid), *lock.read_text().splitlines()[1:]]) + "\n")
    await server.start()
    assert await remembers(server)
    other.kill()
    other.communicate()


@pytest.mark.parametrize("text", ["", "12"])
async def test_a_lock_file_cut_off_while_it_was_written_is_replaced(server: EmbeddedServer, text: str) -> None:
    await remember(server)
    await server.stop()
    (server.data / "postmaster.pid").write_text(text)
    await server.start()
    assert await remembers(server)


async def test_a_server_that_an_earlier_parent_left_running_is_stopped_first(server: EmbeddedServer) -> None:
    await remember(server)
    assert server.process
    assert server._lock
    server._lock.close()
    heir = EmbeddedServer(server.home, FAST)
    await heir.start()
    assert server.died()
    assert await remembers(heir)
    await heir.stop()


async def test_only_one_parent_at_a_time(server: EmbeddedServer) -> None:
    with pytest.raises(FailedPrecondition, match="another process"):
        await EmbeddedServer(server.home, FAST).start()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children of their parent's death")
async def test_it_does_not_outlive_a_killed_parent(home: Path) -> None:
    parent = parent_of_a_server(home)
    assert parent.stdout
    child = int(parent.stdout.readline())
    assert find_process(child)
    parent.kill()
    parent.communicate()
    heir = EmbeddedServer(home, FAST)
    await heir.start()
    assert find_process(child) is None
    assert await ask(heir.runtime_url(), "select 1") == 1
    await heir.stop()


async def test_an_interrupted_first_start_is_begun_anew(home: Path) -> None:
    (home / "data.new").mkdir()
    (home / "data.new" / "PG_VERSION").write_text("18\n")
    server = EmbeddedServer(home, FAST)
    await server.start()
    assert await ask(server.runtime_url(), "select 1") == 1
    await server.stop()


async def test_data_of_another_version_is_refused_with_both_named(server: EmbeddedServer) -> None:
    await server.stop()
    (server.data / "PG_VERSION").write_text("12\n")
    with pytest.raises(FailedPrecondition, match=f"made by PostgreSQL 12.*version {server.binaries.major}"):
        await server.start()


async def test_lost_passwords_are_told_of_rather_than_replaced(server: EmbeddedServer) -> None:
    await server.stop()
    (server.home / "passwords.json").unlink()
    with pytest.raises(FailedPrecondition, match=r"passwords\.json is missing"):
        await EmbeddedServer(server.home, FAST).start()


async def test_stopping_twice_is_stopping_once(server: EmbeddedServer) -> None:
    await server.stop()
    await server.stop()
    assert read_lock_file(server.data) is None


async def test_why_it_does_not_start_is_told(server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    await server.stop()
    monkeypatch.setattr("ostinato.storage.embedded.server._START_ATTEMPTS", 1)
    broken = EmbeddedServer(server.home, ServerSettings((("shared_buffers", "1kB"),)))
    with pytest.raises(Exception, match=r"(?s)does not start.*shared_buffers"):
        await broken.start()
    await broken.stop()
