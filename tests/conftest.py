"""Fixtures of all tests: real databases; and how hypothesis looks for counterexamples."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Tests start programs. gRPC would get ready to go on in each child, and now and then aborts one; it asks once, when
# it is imported.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"

from ostinato.testing.fixtures import *  # noqa: F403

# The same examples in every run, and no verdict by the clock: what fails here fails everywhere.
# HYPOTHESIS_PROFILE=explore looks for new ones.
settings.register_profile(
    "steady", derandomize=True, database=None, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("explore", deadline=None, max_examples=2000, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole installations mostly wait: their modules lie among those that keep the processors busy."""
    by_module: dict[Path, list[pytest.Item]] = {}
    for item in items:
        by_module.setdefault(item.path, []).append(item)
    waiting = [path for path in by_module if "e2e" in path.parts]
    busy = [path for path in by_module if "e2e" not in path.parts]
    apart = max(1, len(busy) // (len(waiting) + 1))
    for number, path in enumerate(waiting):
        busy.insert(number * (apart + 1), path)
    items[:] = [item for path in busy for item in by_module[path]]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What tests have to tell when all is well: `record_property("summary", ...)`."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            if name == "summary":
                terminalreporter.write_line(str(value))
