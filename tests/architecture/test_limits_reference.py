"""docs/limits.md states the numbers that the code enforces."""

from __future__ import annotations

import ast
import importlib
import re
from datetime import timedelta
from decimal import Decimal

import pytest

from tests.architecture.source_tree import own_sources, read

ROWS = re.findall(r"^\| ([^|]+) \| ([\d,.]+)(?: ([^|\d]+?))? \| `([\w.]+)` \|$", read("docs/limits.md"), re.MULTILINE)
UNITS: dict[str, int | timedelta] = {
    "": 1,
    "bytes": 1,
    "characters": 1,
    "KiB": 1 << 10,
    "MiB": 1 << 20,
    "s": timedelta(seconds=1),
    "min": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "days": timedelta(days=1),
}


# Not a limit that a user meets: how much is shown, or how an internal thing is built.
NOT_FOR_USERS = {
    "ostinato.scheduling.triage_plan.MAX_EXPLAINED_TRIGGERS",
    "ostinato.jobflow.invocation_session.MAX_ROUNDS",
    "ostinato_engine.run_reports.MAX_RESULT_BYTES",  # the ingester refused larger ones already
}


def public_limits() -> set[str]:
    """Constants of the code that are called MAX_…, as module and name."""
    found = set()
    for source in own_sources():
        module = source.path.partition("/")[2].removesuffix(".py").replace("/", ".")
        names = [target.id for node in source.tree.body for target in _targets(node) if isinstance(target, ast.Name)]
        found |= {f"{module}.{name}" for name in names if name.startswith("MAX_")}
    return found - NOT_FOR_USERS


def _targets(node: ast.stmt) -> list[ast.expr]:
    if isinstance(node, ast.Assign):
        return node.targets
    return [node.target] if isinstance(node, ast.AnnAssign) else []


def constant(name: str) -> object:
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


def test_no_limit_is_missing_from_the_page() -> None:
    stated = {name for *_, name in ROWS}
    limits = public_limits()
    assert "ostinato.scheduling.validate_job.MAX_LABELS" in limits
    assert limits - stated == set()


def test_the_exceptions_still_exist() -> None:
    assert [name for name in NOT_FOR_USERS if not constant(name)] == []


def test_the_page_has_its_rows() -> None:
    assert len(ROWS) > 30


@pytest.mark.parametrize(("what", "number", "unit", "name"), ROWS)
def test_the_page_states_the_limit_of_the_code(what: str, number: str, unit: str, name: str) -> None:
    stated = Decimal(number.replace(",", "")) if "." in number else int(number.replace(",", "")) * UNITS[unit]
    actual = constant(name)
    assert (Decimal(str(actual)) if isinstance(actual, float) else actual) == stated, what
