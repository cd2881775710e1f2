"""`--check-config` shows what a service would run with, without secrets."""

from __future__ import annotations

import pytest

from ostinato.config import load_engine_settings, settings_or_exit
from ostinato.config.check_config import redacted_url

ENVIRON = {
    "OSTINATO_DATABASE_URL": "postgresql://scheduler:hush@db.example:5432/ostinato",
    "OSTINATO_SECRET": "ab" * 32,
    "OSTINATO_NOTIFICATION_KEYS": "cd" * 32,
}


def test_without_arguments_the_settings_are_returned(capsys: pytest.CaptureFixture[str]) -> None:
    assert settings_or_exit(load_engine_settings, ENVIRON, []) == load_engine_settings(ENVIRON)
    assert capsys.readouterr() == ("", "")


def test_check_config_prints_and_ends(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        settings_or_exit(load_engine_settings, ENVIRON, ["--check-config"])
    assert ended.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    assert "database.url = postgresql://scheduler:***@db.example:5432/ostinato" in lines
    assert "auth.secret = (32 secret bytes)" in lines
    assert "notification_keys = (32 secret bytes)" in lines
    assert "grpc_address = 127.0.0.1:7071" in lines
    assert "shutdown_grace = 20s" in lines
    assert "auth.admins = (none)" in lines


def test_check_config_hides_every_secret(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        settings_or_exit(load_engine_settings, ENVIRON, ["--check-config"])
    out = capsys.readouterr().out
    assert not [secret for secret in ("hush", "ab" * 32, "cd" * 32, r"\xab", r"\xcd") if secret in out]


def test_invalid_settings_end_with_2_and_one_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        settings_or_exit(load_engine_settings, {"OSTINATO_LOG_LEVEL": "loud"}, ["--check-config"])
    assert ended.value.code == 2
    complaints = capsys.readouterr().err.splitlines()
    assert sorted(line.split(":")[0] for line in complaints) == [
        "OSTINATO_DATABASE_URL",
        "OSTINATO_LOG_LEVEL",
        "OSTINATO_SECRET",
    ]


def test_other_arguments_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        settings_or_exit(load_engine_settings, ENVIRON, ["--port", "1"])
    assert ended.value.code == 2
    assert "--port" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:p@h:1/d", "postgresql://u:***@h:1/d"),
        ("postgresql://u:p%40:x@h/d", "postgresql://u:***@h/d"),
        ("postgresql://u@h/d", "postgresql://u@h/d"),
        ("postgresql://h/d?user=u&password=p", "postgresql://h/d?user=u&password=***"),
        ("postgresql:///d?host=/var/run", "postgresql:///d?host=/var/run"),
    ],
)
def test_passwords_are_cut_out_of_urls(url: str, shown: str) -> None:
    assert redacted_url(url) == shown
