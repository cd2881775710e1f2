"""Fixtures of all tests: real databases; and how hypothesis looks for counterexamples."""

from __future__ import annotations

import os

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


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What tests have to tell when all is well: `record_property("summary", ...)`."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            if name == "summary":
                terminalreporter.write_line(str(value))
