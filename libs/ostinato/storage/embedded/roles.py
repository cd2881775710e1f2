"""The database and its two roles: the owner may change the schema, the runtime role may not."""

from __future__ import annotations

from typing import Any

import asyncpg

from ostinato.storage.translate import translated_errors

DATABASE = "ostinato"
OWNER_ROLE = "ostinato_owner"
RUNTIME_ROLE = "ostinato"


async def ensure_roles(superuser_url: str, *, owner_password: str, runtime_password: str) -> None:
    """Creates what is missing and sets both passwords. May be repeated."""
    with translated_errors():
        connection = await asyncpg.connect(superuser_url)
        try:
            await _ensure_role(connection, OWNER_ROLE, owner_password)
            await _ensure_role(connection, RUNTIME_ROLE, runtime_password)
            if not await connection.fetchval("select true from pg_database where datname = $1", DATABASE):
                await connection.execute(f'create database "{DATABASE}" owner "{OWNER_ROLE}"')
        finally:
            await connection.close()


async def _ensure_role(connection: asyncpg.Connection[Any], role: str, password: str) -> None:
    if not await connection.fetchval("select true from pg_roles where rolname = $1", role):
        await connection.execute(f'create role "{role}"')
    await connection.execute(
        await connection.fetchval(
            "select format('alter role %I login password %L', $1::text, $2::text)", role, password
        )
    )
