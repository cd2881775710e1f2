"""Pytest fixtures for code that needs a real PostgreSQL. Use them with `from ostinato.testing.fixtures import *`.

One server per test session: the one `OSTINATO_TEST_DATABASE_URL` names, else one of our own without fsync.
One migrated template per session and pytest-xdist worker, one clone of it per test.

At its end every such database must hold nothing that `ostinato.testing.invariants` knows to be wrong. A test that
damages rows on purpose says so: `@pytest.mark.leaves_damage("what, and why")`. One whose tasks wait in Cloud Tasks is
`@pytest.mark.tasks_elsewhere`: none is missed in the database then.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Iterator

import asyncpg
import pytest

from ostinato.storage.database import Database, DatabaseSettings, open_database
from ostinato.testing.invariants import find_violations
from ostinato.testing.postgres import create_template, drop_database, fresh_database
from ostinato.testing.server import open_test_server

__all__ = [
    "database",
    "database_template",
    "database_url",
    "empty_database_url",
    "postgres_server_url",
    "virtual_database_template",
    "virtual_database_url",
]

_MOST_SHOWN = 20


@pytest.fixture(scope="session")
def postgres_server_url() -> Iterator[str]:
    """A superuser's URL of the session's server. Never the user's `DATABASE_URL`."""
    if url := os.environ.get("OSTINATO_TEST_DATABASE_URL"):
        yield url
        return
    with open_test_server() as url:
        yield url


@pytest.fixture(scope="session")
def database_template(postgres_server_url: str) -> Iterator[str]:
    yield from _template(postgres_server_url, "template_real", virtual_clock=False)


@pytest.fixture(scope="session")
def virtual_database_template(postgres_server_url: str) -> Iterator[str]:
    yield from _template(postgres_server_url, "template_virtual", virtual_clock=True)


@pytest.fixture
async def database_url(
    postgres_server_url: str, database_template: str, request: pytest.FixtureRequest
) -> AsyncIterator[str]:
    """A migrated database of this test's own."""
    async with fresh_database(postgres_server_url, database_template) as url:
        yield url
        await _check(url, request)


@pytest.fixture
async def virtual_database_url(
    postgres_server_url: str, virtual_database_template: str, request: pytest.FixtureRequest
) -> AsyncIterator[str]:
    """Like `database_url`, with `ostinato_now()` read from the row of `testing_clock` where there is one."""
    async with fresh_database(postgres_server_url, virtual_database_template) as url:
        yield url
        await _check(url, request)


@pytest.fixture
async def empty_database_url(postgres_server_url: str) -> AsyncIterator[str]:
    """A database of this test's own without any schema."""
    async with fresh_database(postgres_server_url, "template1") as url:
        yield url


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """An open pool on `database_url`."""
    async with open_database(DatabaseSettings(database_url, application_name="test")) as opened:
        yield opened


async def _check(url: str, request: pytest.FixtureRequest) -> None:
    marker = request.node.get_closest_marker("leaves_damage")
    if marker is not None:
        assert len(marker.args) == 1, "leaves_damage needs a reason"
        return
    elsewhere = request.node.get_closest_marker("tasks_elsewhere") is not None
    connection = await asyncpg.connect(url)
    try:
        violations = await find_violations(connection, tasks_elsewhere=elsewhere)
    finally:
        await connection.close()
    if violations:
        shown = "\n  ".join(violations[:_MOST_SHOWN])
        pytest.fail(f"the test leaves {len(violations)} violations:\n  {shown}", pytrace=False)


def _template(server_url: str, name: str, *, virtual_clock: bool) -> Iterator[str]:
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    unique = f"{name}_{worker}_{os.getpid()}_{secrets.token_hex(3)}"
    asyncio.run(create_template(server_url, unique, virtual_clock=virtual_clock))
    try:
        yield unique
    finally:
        asyncio.run(drop_database(server_url, unique))
