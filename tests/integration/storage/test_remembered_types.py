"""Types are asked about once per process, and understood on every connection."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest

from ostinato.storage.database import DatabaseSettings, open_database
from ostinato.storage.remembered_types import RememberingConnection

AT = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
STATEMENT = "select $1::bigint[] as a, $2::timestamptz[] as b, $3::uuid[] as c, $4::tid[] as d, $5::jsonb[] as e"
VALUES = ([1, None], [AT], [UUID(int=7)], [(1, 2)], ['{"a": 1}'])


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[frozenset[int]]:
    """What the server is asked about from now on; nothing is remembered."""
    asked: list[frozenset[int]] = []
    ask = RememberingConnection.__mro__[1]._introspect_types  # type: ignore[attr-defined]

    async def listening(connection: object, typeoids: frozenset[int], *rest: object) -> object:
        asked.append(frozenset(typeoids))
        return await ask(connection, typeoids, *rest)

    monkeypatch.setattr(RememberingConnection.__mro__[1], "_introspect_types", listening)
    monkeypatch.setattr(RememberingConnection, "_remembered", {})
    return asked


@pytest.mark.parametrize("prepared_statements", [True, False])
async def test_the_second_connection_knows_what_the_first_one_asked(
    empty_database_url: str, prepared_statements: bool, asked: list[frozenset[int]]
) -> None:
    settings = DatabaseSettings(empty_database_url, prepared_statements=prepared_statements)
    for _ in range(2):
        async with open_database(settings) as database:
            row = await database.fetchrow(STATEMENT, *VALUES)
            assert row is not None
            assert tuple(row) == VALUES
    assert len(asked) == 1


async def test_a_type_of_the_database_itself_is_asked_about_on_each_connection(
    empty_database_url: str, asked: list[frozenset[int]]
) -> None:
    settings = DatabaseSettings(empty_database_url)
    async with open_database(settings) as database:
        await database.execute("create type mood as enum ('good', 'bad')")
    for _ in range(2):
        async with open_database(settings) as database:
            assert await database.fetchval("select $1::mood[]", ["bad"]) == ["bad"]
    assert len(asked) == 2
