"""The tables of docs/schedules.md say what the parser does."""

from __future__ import annotations

import re
import shlex
from datetime import UTC, datetime

import pytest
from click.testing import CliRunner

from ostinato.cli.main import cli
from ostinato.scheduling.schedule import ScheduleError, ScheduleTerms, parse_schedule
from ostinato_api.project_config.read_project_config import read_project_config
from tests.architecture.source_tree import read

GUIDE = read("docs/schedules.md")
CONFIGS = re.findall(r"^```yaml\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
COMMANDS = re.findall(r"^ostinato (preview --schedule .*)$", GUIDE, re.MULTILINE)
SLOT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
ACCEPTED = re.findall(r"^\| `([^`]+)` \| [^|]+ \| ((?:\d{4}-\S+ ?)+) \|$", GUIDE, re.MULTILINE)
REFUSED = re.findall(r"^\| `([^`]+)` \| (.+) \|$", GUIDE.partition("## What is refused")[2], re.MULTILINE)


def test_the_guide_has_its_tables() -> None:
    assert len(ACCEPTED) > 12
    assert len(REFUSED) > 7


@pytest.mark.parametrize(("expression", "slots"), ACCEPTED)
def test_an_expression_has_the_slots_that_the_guide_lists(expression: str, slots: str) -> None:
    start = re.search(rf"The first slots after ({SLOT.pattern})", GUIDE)
    assert start
    at: datetime | None = datetime.fromisoformat(start[1])
    for expected in SLOT.findall(slots):
        assert at is not None
        at = parse_schedule(expression).next_after(at)
        assert at == datetime.fromisoformat(expected).astimezone(UTC)


@pytest.mark.parametrize(("expression", "reason"), REFUSED)
def test_what_the_guide_calls_refused_is_refused_for_that_reason(expression: str, reason: str) -> None:
    with pytest.raises(ScheduleError) as refusal:
        parse_schedule(expression)
    assert reason in str(refusal.value)


@pytest.mark.parametrize("text", CONFIGS)
def test_a_config_of_the_guide_can_be_applied(text: str) -> None:
    whole = text if text.startswith("project:") else f"project: shop\njobs:\n{text}"
    (stanza,) = read_project_config(whole).stanzas
    assert stanza.definition.terms != ScheduleTerms()


def test_the_guide_has_configs_and_commands() -> None:
    assert (len(CONFIGS), len(COMMANDS)) == (3, 2)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_guide_is_one(command: str) -> None:
    """It gets as far as the api, which is not there."""
    ran = CliRunner().invoke(cli, ["--address", "127.0.0.1:1", *shlex.split(command)])
    assert (ran.exit_code, "127.0.0.1:1" in ran.stderr) == (1, True), ran.output
