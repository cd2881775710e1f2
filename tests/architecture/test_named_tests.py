"""Tests that documents name exist."""

from __future__ import annotations

import re
from functools import cache

from tests.architecture.source_tree import project_files, read


@cache
def defined() -> frozenset[str]:
    files = [name for name in project_files() if name.startswith("tests/") and name.endswith(".py")]
    return frozenset(
        test for name in files for test in re.findall(r"^(?:async )?def (test_\w+)", read(name), re.MULTILINE)
    )


def named_in(text: str) -> set[str]:
    return set(re.findall(r"`(test_\w+)`", text))


def test_every_named_test_exists() -> None:
    named = named_in(read("docs/reports.md"))
    assert len(named) > 10
    assert sorted(named - defined()) == []


def test_a_test_that_does_not_exist_is_found() -> None:
    assert named_in("| a | `test_of_nothing` |") - defined() == {"test_of_nothing"}
