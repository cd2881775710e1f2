"""The tables of docs/schedules.md say what the parser does."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest

from ostinato.scheduling.schedule import ScheduleError, parse_schedule
from tests.architecture.source_tree import read

GUIDE = read("docs/schedules.md")
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
