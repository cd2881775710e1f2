"""The program in docs/taskqueue.md runs as it stands and prints what the page says."""

from __future__ import annotations

import os
import re
import subprocess
import sys

from tests.architecture.source_tree import ROOT, read

GUIDE = read("docs/taskqueue.md")


def test_the_program_delivers_its_task(empty_database_url: str) -> None:
    (program,) = re.findall(r"^```python\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
    promised = re.search(r"It prints `([^`]+)`", GUIDE)
    assert promised
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env={**os.environ, "DATABASE_URL": empty_database_url},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines() == [promised[1]]
