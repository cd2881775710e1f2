"""The program as a person runs it, against the real api on a real database. No engine: nothing starts by itself."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from ostinato.config import load_api_settings
from ostinato_api.main import open_api
from tests.integration.cli.conftest import Ran

Program = Callable[..., Awaitable[Ran]]

SHOP = """
project: shop
jobs:
  - id: nightly-report
    schedule: "0 3 * * *"
    http: {method: POST, url: "http://127.0.0.1:9000/report"}
    triggers: [send-report]
  - id: send-report
    noop: {}
"""
FOUR_MISTAKES = """
project: shop
jobs:
  - id: a
    schedul: "0 3 * * *"
    noop: {}
  - id: b
    schedule: "* * * *"
    noop: {}
  - id: c
    http: {url: "not a url"}
  - id: d
    noop: {}
    triggers: [nobody]
"""


@pytest.fixture
async def program(database_url: str) -> AsyncIterator[Program]:
    settings = load_api_settings(
        {
            "OSTINATO_DATABASE_URL": database_url,
            "OSTINATO_SECRET": "00" * 32,
            "OSTINATO_API_GRPC_ADDRESS": "127.0.0.1:0",
            "OSTINATO_API_HTTP_ADDRESS": "127.0.0.1:0",
        }
    )
    async with open_api(settings) as api:

        async def run(*arguments: str) -> Ran:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", "from ostinato.cli.main import main; main()", "--address", api.grpc_address),
                *arguments,
                env={name: value for name, value in os.environ.items() if not name.startswith("OSTINATO_")},
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            out, err = await process.communicate()
            assert process.returncode is not None
            return Ran(process.returncode, out.decode(), err.decode())

        yield run


@pytest.fixture
def shop(tmp_path: Path) -> str:
    file = tmp_path / "shop.yaml"
    file.write_text(SHOP)
    return str(file)


async def test_a_project_is_applied_shown_triggered_and_paused(program: Program, shop: str) -> None:
    applied = await program("apply", shop)
    assert applied.lines[1:] == ["  + nightly-report", "  + send-report"]
    assert (await program("apply", shop)).lines[0].startswith("shop: no job changes")
    listed = await program("jobs", "shop")
    assert [line.split()[:2] for line in listed.lines[1:]] == [
        ["shop/nightly-report", "SCHEDULED"],
        ["shop/send-report", "WAITING"],
    ]
    assert await program("trigger", "shop/send-report", "--id", "t1") == Ran(0, "t1 accepted\n", "")
    again = await program("trigger", "shop/send-report", "--id", "t1")
    assert (again.exit_code, "was there already" in again.out) == (0, True)
    assert (await program("pause", "shop/send-report", "--reason", "moving")).exit_code == 0
    assert "moving" in (await program("job", "shop/send-report")).out
    dropped = await program("trigger", "shop/send-report", "--id", "t2")
    assert (dropped.exit_code, "PAUSED" in dropped.err) == (1, True)
    assert (await program("resume", "shop/send-report")).exit_code == 0
    assert await program("runs", "shop/send-report") == Ran(0, "", "There are no runs.\n")


async def test_four_mistakes_are_one_answer_with_four_paths_and_change_nothing(
    program: Program, tmp_path: Path
) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(FOUR_MISTAKES)
    ran = await program("apply", str(file))
    assert ran.exit_code == 1
    assert [line.split(": ")[0].strip() for line in ran.err.splitlines()[1:]] == [
        "jobs[0].schedul",
        "jobs[1].schedule",
        "jobs[2].http.url",
        "jobs[3].triggers[0]",
    ]
    assert (await program("jobs")).err == "There are no jobs.\n"


async def test_coming_slots_of_an_expression(program: Program) -> None:
    ran = await program("preview", "--schedule", "0 1/3 * * *", "--from", "2015-09-14T22:42:00Z", "--count", "4")
    assert ran.lines == [f"2015-09-15T{hour:02}:00:00Z" for hour in (1, 4, 7, 10)]


async def test_what_is_no_schedule_is_refused_by_the_name_of_the_field(program: Program) -> None:
    expressions = ["blah", "* * * *", "with -1s interval", ""]
    for ran in await asyncio.gather(*(program("preview", "--schedule", text) for text in expressions)):
        assert (ran.exit_code, ran.out) == (1, "")
        assert ran.err.startswith("Error: schedule: ")


async def test_queues_show_what_waits(program: Program, shop: str) -> None:
    await program("apply", shop)
    await program("trigger", "shop/send-report")
    listed = json.loads((await program("--output", "json", "queues")).out)["queues"]
    ready = {queue["name"]: int(queue["ready"]) for queue in listed}
    assert ready["triages"] > 0
    assert await program("dead-letters") == Ran(0, "", "There are no dead letters.\n")


async def test_what_is_not_there_is_one_line_and_exit_1(program: Program) -> None:
    commands = [
        ("job", "shop/none"),
        ("job", "Shop/x"),
        ("runs", "shop/none"),
        ("run", "shop/none/7"),
        ("run", "shop/none/x"),
        ("logs", "shop/none/7"),
        ("logs", "--follow", "shop/none/7"),
        ("cancel", "shop/none/7"),
        ("pause", "shop/none"),
        ("trigger", "shop/none"),
        ("jobs", "Shop"),
        ("preview", "shop/none"),
    ]
    for ran in await asyncio.gather(*(program(*command) for command in commands)):
        assert (ran.exit_code, ran.out) == (1, "")
        assert ran.err.startswith("Error: ")
        assert ran.err.count("\n") == 1
        assert "INTERNAL" not in ran.err
