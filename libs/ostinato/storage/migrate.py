"""Applies numbered, forward-only SQL files, one line of versions per owner.

Each file runs in a transaction of its own with a lock timeout, so that a migration that has to wait for a busy
table gives up instead of blocking everybody behind it; another process that migrates is waited for. The runtime role
gets rights on data, none on structure.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from typing import Any

import asyncpg

from ostinato.errors import FailedPrecondition
from ostinato.storage.translate import translated_errors

_FILE = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")
_BOOTSTRAP = """
create table if not exists ostinato_migration (
    line text not null,
    version int not null,
    name text not null,
    digest text not null,
    applied_at timestamptz not null default clock_timestamp(),
    primary key (line, version)
)
"""


@dataclass(frozen=True, slots=True)
class MigrationLine:
    """The migrations of one owner: a package with a folder of `NNNN_name.sql`."""

    name: str
    package: str
    folder: str = "migrations"

    def files(self) -> list[Migration]:
        entries = resources.files(self.package).joinpath(self.folder).iterdir()
        found = [
            Migration(self.name, int(match[1]), match[2], entry.read_text(encoding="utf-8"))
            for entry in entries
            if (match := _FILE.fullmatch(entry.name))
        ]
        return sorted(found, key=lambda migration: migration.version)


@dataclass(frozen=True, slots=True)
class Migration:
    line: str
    version: int
    name: str
    sql: str

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()


STORAGE_LINE = MigrationLine("storage", "ostinato.storage")


async def migrate(connection: asyncpg.Connection[Any], lines: Iterable[MigrationLine]) -> list[Migration]:
    """Applies what is missing, in order of the lines, and returns it. Safe to run from several processes at once.

    Raises FailedPrecondition when a file that was applied before has changed since.
    """
    migrations = [migration for line in lines for migration in line.files()]
    with translated_errors():
        await _bootstrap(connection)
        return [migration for migration in migrations if await _apply(connection, migration)]


async def missing_migrations(connection: asyncpg.Connection[Any], lines: Iterable[MigrationLine]) -> list[Migration]:
    """What `migrate` would apply, or refuse because it was applied with other content."""
    with translated_errors():
        applied = {}
        if await _is_bootstrapped(connection):
            rows = await connection.fetch("select line, version, digest from ostinato_migration")
            applied = {(row["line"], row["version"]): row["digest"] for row in rows}
    migrations = [migration for line in lines for migration in line.files()]
    return [found for found in migrations if applied.get((found.line, found.version)) != found.digest]


async def grant_runtime_role(connection: asyncpg.Connection[Any], role: str) -> None:
    """Lets `role` read and write data and call functions. It can't create, alter or drop anything."""
    name = '"' + role.replace('"', '""') + '"'
    with translated_errors():
        for statement in (
            f"grant usage on schema public to {name}",
            f"grant select, insert, update, delete on all tables in schema public to {name}",
            f"revoke insert, update, delete on ostinato_migration from {name}",
            f"grant usage on all sequences in schema public to {name}",
            f"grant execute on all functions in schema public to {name}",
        ):
            await connection.execute(statement)


async def _bootstrap(connection: asyncpg.Connection[Any]) -> None:
    if await _is_bootstrapped(connection):
        return
    async with connection.transaction():
        # `if not exists` alone fails, with one of three errors, where another process creates it at the same moment.
        await connection.execute("set local lock_timeout = 0")
        await connection.execute("select pg_advisory_xact_lock(hashtextextended('ostinato_migration', 0))")
        await connection.execute(_BOOTSTRAP)


async def _is_bootstrapped(connection: asyncpg.Connection[Any]) -> bool:
    return bool(await connection.fetchval("select to_regclass('ostinato_migration') is not null"))


async def _apply(connection: asyncpg.Connection[Any], migration: Migration) -> bool:
    async with connection.transaction():
        # One migration after the other, however long they take: another process may be applying this one.
        await connection.execute("set local lock_timeout = 0")
        await connection.execute("lock table ostinato_migration in share row exclusive mode")
        await connection.execute("set local lock_timeout = '4s'")
        digest = await connection.fetchval(
            "select digest from ostinato_migration where line = $1 and version = $2", migration.line, migration.version
        )
        if digest == migration.digest:
            return False
        if digest is not None:
            raise FailedPrecondition(
                f"migration {migration.line}/{migration.version:04}_{migration.name} was applied with other content"
            )
        await connection.execute("set local statement_timeout = '0'")
        await connection.execute(migration.sql)
        await connection.execute(
            "insert into ostinato_migration (line, version, name, digest) values ($1, $2, $3, $4)",
            migration.line,
            migration.version,
            migration.name,
            migration.digest,
        )
    return True
