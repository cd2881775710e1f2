"""Every PostgreSQL that is found here can be started by us and takes the schema."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ostinato.clock import SystemClock
from ostinato.config import DatabaseSettings
from ostinato.jobflow.schema import install_schema
from ostinato.storage.database import connect
from ostinato.storage.embedded.binaries import Binaries, find_binaries, find_system_binaries
from ostinato.storage.embedded.roles import RUNTIME_ROLE
from ostinato.storage.embedded.server import EmbeddedServer, ServerSettings
from ostinato.storage.schema_dump import dump_schema
from ostinato.testing.server import temporary_home

COMMITTED = Path(__file__).resolve().parents[3] / "docs" / "schema.txt"


def found() -> list[Binaries]:
    return list(
        {binaries.major: binaries for binaries in (*find_system_binaries(), find_binaries(os.environ))}.values()
    )


@pytest.fixture
def home() -> Iterator[Path]:
    with temporary_home() as path:
        yield path


@pytest.mark.parametrize("binaries", found(), ids=lambda binaries: str(binaries.major))
async def test_a_server_of_this_version_takes_the_same_schema(binaries: Binaries, home: Path) -> None:
    server = EmbeddedServer(home, ServerSettings.fast(), binaries=binaries)
    await server.start()
    try:
        owner = DatabaseSettings(server.owner_url())
        await install_schema(owner, now=SystemClock().now(), runtime_role=RUNTIME_ROLE)
        connection = await connect(owner)
        assert connection.get_server_version().major == binaries.major
        assert await dump_schema(connection) == COMMITTED.read_text(encoding="utf-8")
        await connection.close()
        services = await connect(DatabaseSettings(server.runtime_url()))
        assert await services.fetchval("select count(*) from job") == 0
        await services.close()
    finally:
        await server.stop()
