"""The Dockerfile passes its linter and keeps what docs/deploying.md promises of the image."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.architecture.source_tree import ROOT, read

DOCKERFILE = "deploy/Dockerfile"


def hadolint(text: str) -> str:
    command = [str(Path(sys.executable).parent / "hadolint"), "-"]
    linted = subprocess.run(command, input=text, cwd=ROOT, capture_output=True, text=True, check=False)
    return linted.stdout + linted.stderr


def test_the_linter_has_nothing_to_say() -> None:
    assert hadolint(read(DOCKERFILE)) == ""


def test_the_linter_sees_a_mistake() -> None:
    assert "DL3007" in hadolint(read(DOCKERFILE) + "\nFROM python:latest\n")


def test_everything_that_is_installed_is_in_the_lock() -> None:
    installs = re.findall(r"pip install (.*?)(?:\\\n|\n)", read(DOCKERFILE))
    assert installs
    assert [
        line for line in installs if "--require-hashes" not in line and "--no-deps --no-build-isolation" not in line
    ] == []


def test_the_image_runs_as_the_user_that_the_manifests_name() -> None:
    (user,) = re.findall(r"^USER (\d+):\d+$", read(DOCKERFILE), re.MULTILINE)
    manifests = [path.read_text() for path in (ROOT / "deploy/kubernetes/base").glob("*.yaml")]
    named = {uid for text in manifests for uid in re.findall(r"runAsUser: (\d+)", text)}
    assert named == {user}


def test_what_is_copied_exists() -> None:
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", read(DOCKERFILE), re.MULTILINE)
    names = [name for line in copied for name in line.split()]
    assert names
    assert [name for name in names if not (ROOT / name).exists()] == []
