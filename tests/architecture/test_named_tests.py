"""Tests that documents name exist."""

from __future__ import annotations

import re
from functools import cache

import pytest

from tests.architecture.source_tree import project_files, read


@cache
def defined() -> frozenset[str]:
    files = [name for name in project_files() if name.startswith("tests/") and name.endswith(".py")]
    return frozenset(
        test for name in files for test in re.findall(r"^(?:async )?def (test_\w+)", read(name), re.MULTILINE)
    )


def named_in(text: str) -> set[str]:
    return set(re.findall(r"`(test_\w+)`", text))


@pytest.mark.parametrize("page", ["docs/reports.md", "docs/taskqueue.md"])
def test_every_named_test_exists(page: str) -> None:
    named = named_in(read(page))
    assert len(named) > 10
    assert sorted(named - defined()) == []


def test_the_table_of_failures_names_every_test_of_them_in_order() -> None:
    matrix = read("tests/integration/taskqueue/cloud_tasks/test_failure_matrix.py")
    tests = re.findall(r"^async def (test_\w+)", matrix, re.MULTILINE)
    assert tests == re.findall(r"^\|.*`(test_\w+)` \|$", read("docs/taskqueue.md"), re.MULTILINE)


def test_a_test_that_does_not_exist_is_found() -> None:
    assert named_in("| a | `test_of_nothing` |") - defined() == {"test_of_nothing"}
