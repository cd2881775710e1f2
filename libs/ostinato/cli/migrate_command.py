"""`ostinato migrate`: brings the schema up to date, or says whether it is."""

from __future__ import annotations

import asyncio
import os

import click

from ostinato.clock import SystemClock
from ostinato.config import DatabaseSettings, InvalidSettings, load_migration_database
from ostinato.errors import OstinatoError
from ostinato.jobflow.schema import SchemaChange, install_schema, missing_from_schema


@click.command()
@click.option("--runtime-role", default="", metavar="NAME", help="Grant this role what the services need: no DDL.")
@click.option("--check", is_flag=True, help="Change nothing; exit with 1 if something is missing.")
def migrate(runtime_role: str, check: bool) -> None:  # noqa: FBT001 - click passes flags by name
    """Bring the database schema up to date.

    The database is OSTINATO_MAINTENANCE_DATABASE_URL, else OSTINATO_DATABASE_URL. Its role must own the schema.
    May be repeated; several at once are fine.
    """
    try:
        settings = load_migration_database(os.environ)
        asyncio.run(_check(settings) if check else _migrate(settings, runtime_role))
    except InvalidSettings as error:
        raise click.UsageError(str(error)) from None
    except OstinatoError as error:
        raise click.ClickException(str(error)) from None


async def _migrate(settings: DatabaseSettings, runtime_role: str) -> None:
    change = await install_schema(settings, now=SystemClock().now(), runtime_role=runtime_role)
    for line in told(change):
        click.echo(line)


async def _check(settings: DatabaseSettings) -> None:
    missing = await missing_from_schema(settings)
    if missing:
        names = ", ".join(f"{migration.line}/{migration.version:04}_{migration.name}" for migration in missing)
        raise click.ClickException(f"the schema is not current, missing: {names}")
    click.echo("The schema is current.")


def told(change: SchemaChange) -> list[str]:
    """What happened, one line each."""
    lines = [f"Applied {migration.line}/{migration.version:04}_{migration.name}." for migration in change.migrations]
    if change.partitions:
        lines.append(f"Made {len(change.partitions)} partitions.")
    return lines or ["The schema is current."]
