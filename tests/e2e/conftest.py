"""Installations for tests from outside."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path

import pytest
import pytest_asyncio

from ostinato.testing.installation import RunningInstallation, installation
from ostinato.testing.postgres import fresh_database
from ostinato.testing.server import temporary_home
from tests.e2e.ways import CLOUD_EVERYWHERE, PGBOUNCER_EVERYWHERE, open_way


@pytest.fixture(scope="module")
def given_server(request: pytest.FixtureRequest) -> str:
    """The server that `ostinato up` is given; empty: it brings its own along, which no pgbouncer can stand before."""
    return str(request.getfixturevalue("postgres_server_url")) if PGBOUNCER_EVERYWHERE else ""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def database_environ(given_server: str, home: Path) -> AsyncIterator[Mapping[str, str]]:
    """What `ostinato up` is told of its database."""
    if not given_server:
        yield {}
        return
    async with fresh_database(given_server, "template1") as url, open_way(url, given_server, home) as environ:
        yield {**environ, "OSTINATO_MAINTENANCE_DATABASE_URL": url}


@pytest.fixture(scope="module")
def installed(database_environ: Mapping[str, str], home: Path) -> Iterator[RunningInstallation]:
    """One for all tests of a module, not started yet."""
    with installation(home, cloud=CLOUD_EVERYWHERE, environ=database_environ) as prepared:
        yield prepared


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """A folder for all tests of a module that PostgreSQL's own account may enter."""
    with temporary_home(in_memory=True) as folder:
        yield folder


@pytest.fixture
async def process_environ(database_url: str, postgres_server_url: str, home: Path) -> AsyncIterator[Mapping[str, str]]:
    """What a process is told that uses the test's own database."""
    async with open_way(database_url, postgres_server_url, home) as environ:
        yield {**os.environ, **environ}


@pytest.fixture(scope="session")
def examples() -> Path:
    return Path(__file__).resolve().parents[2] / "examples"
