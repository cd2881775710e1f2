"""Arguments that no well-meaning person types: one line and an exit code, never a traceback."""

from __future__ import annotations

import pytest

from tests.integration.cli.test_command_line import run_program

NOBODY = ("--address", "127.0.0.1:1")
BYTES = "\udcff"  # as Python hands on the byte ff


@pytest.mark.parametrize(
    "arguments",
    [
        ("job", f"shop/{BYTES}"),
        ("trigger", "shop/a", "--id", BYTES),
        ("pause", "shop/a", "--reason", BYTES),
        ("preview", "--schedule", BYTES),
        ("preview", "--schedule", "every 1s", "--from", "0001-01-01T00:00:00+10:00"),
        ("preview", "--schedule", "every 1s", "--from", "9999-12-31T23:59:59-10:00"),
        ("dead-letters", "requeue", "99999999999999999999"),
    ],
    ids=["name", "id", "reason", "schedule", "before the year 1", "after the year 9999", "huge number"],
)
def test_what_no_message_can_carry_is_wrong_usage(arguments: tuple[str, ...]) -> None:
    ran = run_program(*NOBODY, *arguments)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "Traceback" not in ran.stderr
    assert ran.stderr.splitlines()[-1].startswith("Error: ")
