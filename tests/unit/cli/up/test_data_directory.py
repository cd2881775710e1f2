"""The folder of an installation."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ostinato.cli.up import data_directory
from ostinato.cli.up.data_directory import open_data_directory
from ostinato.errors import FailedPrecondition


def test_it_is_made_and_belongs_to_one_process_at_a_time(tmp_path: Path) -> None:
    busy = pytest.raises(FailedPrecondition, match=rf"process {os.getpid()}")
    with open_data_directory(tmp_path / "data"), busy, open_data_directory(tmp_path / "data"):
        pass
    with open_data_directory(tmp_path / "data") as again:
        assert again.logs.is_dir()


def test_the_secret_is_random_private_and_kept(tmp_path: Path) -> None:
    with open_data_directory(tmp_path / "one") as one, open_data_directory(tmp_path / "two") as two:
        secret = one.secret()
        assert len(bytes.fromhex(secret)) == 32
        assert one.secret() == secret != two.secret()
        assert (one.path / "secret").stat().st_mode & 0o777 == 0o600


def test_logs_are_continued_and_kept_from_others(tmp_path: Path) -> None:
    with open_data_directory(tmp_path / "data") as directory:
        for text in (b"first\n", b"second\n"):
            with os.fdopen(directory.open_log("api"), "wb") as log:
                log.write(text)
        path = directory.logs / "api.log"
        assert path.read_text() == "first\nsecond\n"
        assert path.stat().st_mode & 0o777 == 0o600


def test_a_long_log_is_set_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_directory, "LONGEST_LOG", 3)
    with open_data_directory(tmp_path / "data") as directory:
        (directory.logs / "api.log").write_text("long")
        os.close(directory.open_log("api"))
        assert (directory.logs / "api.log").read_text() == ""
        assert (directory.logs / "api.log.1").read_text() == "long"


def test_a_place_where_no_directory_can_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FailedPrecondition, match="can't be used"), open_data_directory(tmp_path / "file" / "data"):
        pass
