"""`ostinato up`: PostgreSQL, the three services and the examples on this machine, until Ctrl-C."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import click

from ostinato.cli.up.data_directory import open_data_directory
from ostinato.cli.up.installation import Installation, UpOptions
from ostinato.clock import SystemClock
from ostinato.config import InvalidSettings
from ostinato.errors import OstinatoError


@click.command()
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".ostinato"),
    envvar="OSTINATO_DATA_DIR",
    show_default=True,
    help="Where everything is kept.",
)
@click.option("--engines", type=click.IntRange(1, 100), default=1, show_default=True, help="How many engines to run.")
@click.option(
    "--examples",
    type=click.Path(file_okay=False, exists=True, path_type=Path),
    help="Apply the *.yaml of this folder and run its *_service.py. Default: examples/ if it is there.",
)
@click.option("--no-examples", is_flag=True, help="Start without example jobs.")
@click.option("--cloud", is_flag=True, help="Let tasks wait in a Cloud Tasks of this machine, in memory.")
def up(data_dir: Path, engines: int, examples: Path | None, *, no_examples: bool, cloud: bool) -> None:
    """Start PostgreSQL and the three services here and keep them running until Ctrl-C.

    OSTINATO_DATABASE_URL makes it use another PostgreSQL than its own. Addresses are settings of the services,
    such as OSTINATO_API_GRPC_ADDRESS; each further engine gets ports 100 higher.
    """
    options = UpOptions(engines, None if no_examples else examples or _examples_here(), cloud=cloud)
    try:
        with open_data_directory(data_dir) as directory:
            asyncio.run(Installation(options, directory, os.environ, SystemClock(), click.echo).run())
    except InvalidSettings as error:
        raise click.UsageError("\n".join(str(violation) for violation in error.violations)) from None
    except OstinatoError as error:
        raise click.ClickException(str(error)) from None


def _examples_here() -> Path | None:
    folder = Path("examples")
    return folder if any(folder.glob("*.yaml")) else None
