"""The command line in the test's hands."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from click.testing import CliRunner, Result

from ostinato.cli.main import cli
from tests.integration.client.fake_api import FakeApi, open_fake_api


@dataclass(frozen=True)
class Ran:
    """What a command left behind."""

    exit_code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def api() -> Iterator[FakeApi]:
    with open_fake_api() as opened:
        yield opened


@pytest.fixture
def ostinato(api: FakeApi) -> Callable[..., Ran]:
    """Runs a command against the fake api."""

    def run(*arguments: str, env: dict[str, str] | None = None, stdin: bytes | None = None) -> Ran:
        result: Result = CliRunner(env={"COLUMNS": "100"} | (env or {})).invoke(
            cli, ["--address", api.address, *arguments], prog_name="ostinato", input=stdin
        )
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Ran(result.exit_code, result.stdout, result.stderr)

    return run
