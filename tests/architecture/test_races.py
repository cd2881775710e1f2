"""Every race that docs/testing.md lists is proved harmless by tests that exist."""

from __future__ import annotations

import ast
import re

import pytest

from tests.architecture.source_tree import ROOT

_TEST_ID = re.compile(r"`([\w/]+\.py)::(test_\w+)`")
_KINDS = ("unit/", "property/", "simulation/", "e2e/")
KNOWN_RACES = 38


def races(page: str) -> dict[str, list[tuple[str, str]]]:
    """The (file, test) pairs of each row of the table."""
    section = page.partition("## Races")[2].partition("\n## ")[0]
    rows = [line.split("|") for line in section.splitlines() if line.startswith("| ")]
    return {row[1].strip(): _TEST_ID.findall(row[2]) for row in rows[1:]}


def missing(test_id: tuple[str, str]) -> str | None:
    file, name = test_id
    path = ROOT / "tests" / (file if file.startswith(_KINDS) else f"integration/{file}")
    if not path.exists():
        return f"{file} does not exist"
    tree = ast.parse(path.read_text(encoding="utf-8"))
    defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    return None if name in defined else f"{file} has no {name}"


def documented() -> dict[str, list[tuple[str, str]]]:
    return races((ROOT / "docs" / "testing.md").read_text(encoding="utf-8"))


def test_every_race_has_tests_and_they_exist() -> None:
    found = documented()
    assert len(found) == KNOWN_RACES
    assert [race for race, tests in found.items() if not tests] == []
    assert [gone for tests in found.values() for test in tests if (gone := missing(test))] == []


@pytest.mark.parametrize(
    "test_id", [("taskqueue/test_races.py", "test_that_nobody_wrote"), ("taskqueue/test_nowhere.py", "test_x")]
)
def test_a_test_that_does_not_exist_is_noticed(test_id: tuple[str, str]) -> None:
    assert missing(test_id)


def test_a_row_without_a_test_is_noticed() -> None:
    rows = "| one | `taskqueue/test_a.py::test_b` |\n| two | none |"
    page = f"## Races\n\n| race | tests |\n|---|---|\n{rows}\n\n## Next\n"
    assert races(page) == {"one": [("taskqueue/test_a.py", "test_b")], "two": []}
