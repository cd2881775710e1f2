"""Every command and option of `ostinato` with hostile values: a line on stderr and an exit code, never a traceback.

The commands are walked, so a new one is looked at without being listed here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from ostinato.cli.main import cli
from ostinato.errors import NotFound
from tests.integration.client.fake_api import open_fake_api

# Nobody listens there.
NOBODY = "127.0.0.1:1"
VALUES = (
    "",
    " ",
    "-",
    "--",
    "0",
    "-1",
    "99999999999999999999",
    "１",
    "x" * 10_000,
    "é\u202e\U0001f600",
    "a\nb",
    "\x1b[31mred",
    "\udcff",
    "%s%n{}",
    "$(reboot)",
    "shop/a",
    "shop/a/1",
    "shop/",
    "/a",
    "shop//a",
    "shop/a/b/c",
    "../../etc/passwd",
    "/etc/shadow",
    "/nonexistent/file",
    "/dev/null",
    "[]",
    '{"a": NaN}',
    "{",
    "[" * 5000,
    "every 15m",
    "* * * * * * * *",
    "2026-01-01",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-14:00",
    "host:99999",
    "[::1",
    "table",
)
# It starts servers when its arguments are good: only what it refuses is tried.
NOT_RUN = {"up"}
GOOD = {"files": "/dev/null", "job": "shop/a", "name": "shop/a", "project": "shop", "queue": "launches", "ids": "1"}


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


COMMANDS = dict(commands(cli))
RUNNABLE = {path: command for path, command in COMMANDS.items() if path[0] not in NOT_RUN}


def command_lines(path: tuple[str, ...], command: click.Command) -> Iterator[list[str]]:
    """Each parameter with each value, beside good values for those that are required."""
    needed = [GOOD.get(str(each.name), "1") for each in command.params if each.param_type_name == "argument"]
    for parameter in command.params:
        for value in VALUES:
            if parameter.param_type_name == "argument":
                yield [*path, "--", value]
            elif not getattr(parameter, "is_flag", False):
                yield [*path, f"{parameter.opts[0]}={value}", *needed]
    yield [*path, "--no-such-option", *needed]
    yield [*path, *needed, "too", "many", "of", "them"]
    yield [*path]


@pytest.fixture(scope="module")
def refusing_api() -> Iterator[str]:
    """Whatever the command line lets through finds nothing there."""
    with open_fake_api() as api:
        api.answers = defaultdict(lambda: NotFound("no such thing", resource="projects/shop"))
        yield api.address


def test_the_walk_finds_the_commands() -> None:
    assert ("dead-letters", "requeue") in COMMANDS
    assert ("trigger",) in RUNNABLE
    assert len(COMMANDS) > 15


@pytest.mark.parametrize("path", RUNNABLE, ids=" ".join)
def test_no_value_of_a_parameter_is_our_mistake(
    path: tuple[str, ...], refusing_api: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environ = {
        "OSTINATO_ADDRESS": refusing_api,
        "OSTINATO_DATABASE_URL": f"postgresql://x@{NOBODY}/x",
        "COLUMNS": "100",
    }
    wrong = []
    monkeypatch.chdir(tmp_path)
    for line in command_lines(path, RUNNABLE[path]):
        ran = CliRunner(env=environ).invoke(cli, line, prog_name="ostinato")
        if complaint := what_is_wrong(ran):
            wrong.append((line, complaint))
    assert wrong == []


def what_is_wrong(ran: click.testing.Result) -> str:
    if ran.exception is not None and not isinstance(ran.exception, SystemExit):
        return f"raised {ran.exception!r}"
    if ran.exit_code not in {0, 1, 2}:
        return f"exit code {ran.exit_code}"
    if "Traceback" in ran.output:
        return ran.output[-500:]
    if ran.exit_code and not ran.stderr.strip():
        return "says nothing on stderr"
    if ran.exit_code and ran.stdout:
        return f"says on stdout: {ran.stdout[:200]}"
    return ""
