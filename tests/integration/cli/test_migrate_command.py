"""`ostinato migrate` as an operator types it."""

from __future__ import annotations

import pytest
from click.testing import CliRunner, Result

from ostinato.cli.main import cli


def run(url: str, *arguments: str, **environ: str) -> Result:
    env = {"OSTINATO_DATABASE_URL": url, "DATABASE_URL": "", "OSTINATO_MAINTENANCE_DATABASE_URL": "", **environ}
    return CliRunner().invoke(cli, ["migrate", *arguments], env=env)


def test_the_schema_is_installed_once(empty_database_url: str) -> None:
    first = run(empty_database_url)
    assert first.exit_code == 0
    assert "Applied scheduler/0001_scheduler." in first.output
    assert "partitions." in first.output
    again = run(empty_database_url)
    assert (again.exit_code, again.output) == (0, "The schema is current.\n")


def test_a_check_changes_nothing_and_names_what_is_missing(empty_database_url: str) -> None:
    for _ in range(2):
        missing = run(empty_database_url, "--check")
        assert missing.exit_code == 1
        assert "scheduler/0001_scheduler" in missing.output
    run(empty_database_url)
    current = run(empty_database_url, "--check")
    assert (current.exit_code, current.output) == (0, "The schema is current.\n")


def test_the_maintenance_address_goes_before_the_services(empty_database_url: str) -> None:
    done = run("postgresql://127.0.0.1:1/nothing", OSTINATO_MAINTENANCE_DATABASE_URL=empty_database_url)
    assert done.exit_code == 0


def test_without_an_address_the_variable_is_named() -> None:
    refused = run("")
    assert refused.exit_code == 2
    assert "OSTINATO_DATABASE_URL" in refused.output


def test_a_role_that_does_not_exist_is_told(empty_database_url: str) -> None:
    refused = run(empty_database_url, "--runtime-role", "nobody-of-that-name")
    assert refused.exit_code == 1
    assert "nobody-of-that-name" in refused.output


@pytest.mark.parametrize("url", ["postgresql://u:hush@127.0.0.1:1/x"])
def test_a_server_that_does_not_answer_is_told_without_its_password(url: str) -> None:
    refused = run(url)
    assert refused.exit_code == 1
    assert "hush" not in refused.output
