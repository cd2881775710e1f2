"""As many random walks as fit into the time that CI has for them; each failing one can be taken again by its seed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.architecture.source_tree import ROOT

SECONDS = 20
LEAST_WALKS = 2  # on a machine that has other things to do


def simulate(server_url: str, *arguments: str, seconds: float = 150) -> subprocess.CompletedProcess[str]:
    """As the Makefile does it: the order of sets of strings is part of what a seed decides."""
    return subprocess.run(
        [sys.executable, "-m", "tests.simulation", *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONHASHSEED": "0", "OSTINATO_TEST_DATABASE_URL": server_url},
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


@pytest.mark.timeout(180)
def test_walks_keep_every_promise(postgres_server_url: str, record_property: Callable[[str, object], None]) -> None:
    run = simulate(postgres_server_url, "--seconds", str(SECONDS))
    assert run.returncode == 0, run.stdout + run.stderr
    summary = run.stdout.splitlines()[-1]
    record_property("summary", f"simulation: {summary}")
    walks = re.match(r"(\d+) walks", summary)
    assert walks is not None
    assert int(walks[1]) >= LEAST_WALKS


@pytest.mark.timeout(180)
def test_a_seed_taken_twice_is_the_same_walk(postgres_server_url: str) -> None:
    once, again = (simulate(postgres_server_url, "--seed", "10") for _ in range(2))
    assert once.stdout.startswith("seed 10: ")
    assert re.search(r"trace [0-9a-f]{64}: ok", once.stdout)
    assert again.stdout == once.stdout
