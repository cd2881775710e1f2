"""What all commands share: where they connect to, as whom, and how they fail."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import grpc
import pytest
from click.testing import CliRunner

from ostinato.cli.main import cli
from ostinato.errors import InternalError, Unavailable
from ostinato.pb.scheduler.v1.admin_pb2 import ListQueuesResponse
from tests.integration.cli.conftest import Ran
from tests.integration.client.fake_api import FakeApi, open_fake_api

Ostinato = Callable[..., Ran]


def run_program(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = "from ostinato.cli.main import main; main()"
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={name: value for name, value in os.environ.items() if not name.startswith(("OSTINATO_", "GRPC_"))},
    )


def test_where_nobody_answers_one_line_says_where_and_what_to_do() -> None:
    ran = run_program("--address", "127.0.0.1:1", "jobs")
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr == (
        "Error: no api answers at 127.0.0.1:1. Start one with `make run`, or name another with --address HOST:PORT.\n"
    )


def test_an_api_that_is_not_available_says_so_itself(ostinato: Ostinato, api: FakeApi) -> None:
    api.answers["ListQueues"] = Unavailable("database: connection refused")
    assert ostinato("queues") == Ran(1, "", "Error: not available at the moment, repeat (UNAVAILABLE)\n")


def test_a_bug_of_the_api_is_told_as_one_line(ostinato: Ostinato, api: FakeApi) -> None:
    api.answers["ListQueues"] = InternalError("secret")
    assert ostinato("queues") == Ran(1, "", "Error: something went wrong on our side (INTERNAL)\n")


def test_a_call_without_an_answer_says_that_nobody_knows(
    ostinato: Ostinato, api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    def timed_out(method: str, request: object, context: grpc.ServicerContext) -> None:
        context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")

    monkeypatch.setattr(FakeApi, "answer", lambda _, *call: timed_out(*call))
    ran = ostinato("queues")
    assert ran == Ran(
        1, "", f"Error: no answer from {api.address} in time; what was asked may or may not have happened.\n"
    )


def test_the_identity_comes_from_the_environment(ostinato: Ostinato, api: FakeApi) -> None:
    api.answers["ListQueues"] = ListQueuesResponse()
    ostinato("queues", env={"OSTINATO_USER": "user:ana@shop.example"})
    ostinato("queues", env={"OSTINATO_USER": ""})
    assert api.users == ["user:ana@shop.example", ""]


def test_the_address_comes_from_the_environment_and_the_option_wins(api: FakeApi) -> None:
    api.answers["ListQueues"] = ListQueuesResponse()
    runner = CliRunner(env={"OSTINATO_ADDRESS": api.address})
    assert runner.invoke(cli, ["queues"]).exit_code == 0
    with open_fake_api() as other:
        other.answers["ListQueues"] = ListQueuesResponse()
        assert runner.invoke(cli, ["--address", other.address, "queues"]).exit_code == 0
        assert runner.invoke(cli, ["queues", "--address", other.address]).exit_code == 0
        assert len(other.requests) == 2
    assert len(api.requests) == 1


@pytest.mark.parametrize("address", ["localhost", "127.0.0.1:", ":7070", "127.0.0.1:99999"])
def test_an_address_that_is_none_is_wrong_usage(address: str) -> None:
    for arguments in (["--address", address, "queues"], ["queues", "--address", address]):
        ran = CliRunner().invoke(cli, arguments)
        assert ran.exit_code == 2
        assert "--address" in ran.stderr


@pytest.mark.parametrize("arguments", [["nothing"], ["queues", "extra"], ["--output", "xml", "queues"], ["trigger"]])
def test_wrong_usage_exits_with_2(arguments: list[str]) -> None:
    assert CliRunner().invoke(cli, arguments).exit_code == 2


def test_the_overview_names_every_command_without_loading_it() -> None:
    program = (
        "import sys; from ostinato.cli.main import cli; cli.main(['--help'], standalone_mode=False);"
        "print([name for name in ('grpc', 'google.protobuf', 'rich', 'asyncpg', 'aiohttp') if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30)
    *overview, loaded = ran.stdout.splitlines()
    named = {line.split()[0] for line in overview if line.startswith("  ") and line.strip()}
    assert set(cli.list_commands(None)) <= named
    assert loaded == "[]"


def test_every_command_explains_itself() -> None:
    for name in cli.list_commands(None):
        ran = CliRunner().invoke(cli, [name, "--help"])
        assert ran.exit_code == 0, name
        assert "Usage:" in ran.stdout


@pytest.mark.parametrize("user", ["user:é", "user:a\nb", "\udcff"])
def test_a_user_that_no_call_can_carry_is_wrong_usage(ostinato: Ostinato, user: str) -> None:
    ran = ostinato("queues", env={"OSTINATO_USER": user})
    assert ran.exit_code == 2
    assert "OSTINATO_USER must be printable ASCII" in ran.err
