"""Installations for tests from outside."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ostinato.testing.installation import RunningInstallation, installation
from ostinato.testing.server import temporary_home


@pytest.fixture(scope="module")
def installed() -> Iterator[RunningInstallation]:
    """One for all tests of a module, not started yet."""
    with temporary_home() as folder, installation(folder) as prepared:
        yield prepared


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """A folder for all tests of a module that PostgreSQL's own account may enter."""
    with temporary_home() as folder:
        yield folder


@pytest.fixture(scope="session")
def examples() -> Path:
    return Path(__file__).resolve().parents[2] / "examples"
