"""Generated code is committed, never edited, and always what the protos say."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.architecture.source_tree import ROOT


def test_the_committed_stubs_are_what_the_protos_generate() -> None:
    bin_folder = Path(sys.executable).parent
    generated = subprocess.run(
        [sys.executable, "tools/generate_protos.py", "--verify"],
        cwd=ROOT,
        env={**os.environ, "PATH": f"{bin_folder}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert generated.returncode == 0, generated.stdout + generated.stderr
