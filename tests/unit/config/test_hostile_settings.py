"""Every variable of a service against values of every kind: used, or refused by name and rule; never a crash."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import pytest

from ostinato.config import (
    InvalidSettings,
    load_api_settings,
    load_engine_settings,
    load_ingester_settings,
    load_migration_database,
)
from ostinato.config.check_config import describe
from ostinato.errors import Violation

VALUES = (
    " ",
    "0",
    "-1",
    "1",
    "65536",
    "2147483648",
    "9" * 5000,
    "1.5",
    "１",
    "nan",
    "true",
    "maybe",
    "x" * 100_000,
    "é\u202e",
    "\n",
    "a\nb",
    "\x7f",
    "\udcff",
    ",",
    ",,a,,",
    "ab" * 32,
    "ab" * 32 + "," + "cd" * 32,
    "zz" * 32,
    "user:ana",
    "ana",
    "127.0.0.1:7070",
    "127.0.0.1:99999",
    "0.0.0.0:7070",
    "[::1]:7070",
    "::1:7070",
    "[::1",
    ":",
    "host:",
    "localhost:0",
    "http://",
    "http://[::1",
    "http://h:99999",
    "http://h:0",
    "file:///etc/passwd",
    "postgresql://",
    "postgresql://u:p%zz@h/db",
    "postgresql://u:p@h:port/db",
    "postgresql://h/db?sslmode=banana",
    "postgres://h1,h2:1,h3/db",
    "../../etc/passwd",
    "%s%n{}",
    "$(reboot)",
)
GOOD = {
    "OSTINATO_DATABASE_URL": "postgresql://scheduler@db/ostinato",
    "OSTINATO_SECRET": "ab" * 32,
}
Load = Callable[[Mapping[str, str]], object]
LOADERS: dict[str, Load] = {
    "api": load_api_settings,
    "engine": load_engine_settings,
    "ingester": load_ingester_settings,
    "migrate": load_migration_database,
}


class _Asked(Mapping[str, str]):
    """Remembers what it was asked for."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.names: set[str] = set()

    def __getitem__(self, name: str) -> str:
        self.names.add(name)
        return self._environ[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._environ)

    def __len__(self) -> int:
        return len(self._environ)


def names_of(load: Load) -> list[str]:
    asked = _Asked(GOOD)
    load(asked)
    return sorted(asked.names)


CASES = [(service, name) for service, load in LOADERS.items() for name in names_of(load)]


def test_the_walk_finds_the_variables() -> None:
    assert ("engine", "OSTINATO_ENGINE_NOTIFY_URL") in CASES
    assert ("api", "OTEL_TRACES_SAMPLER") in CASES
    assert len(CASES) > 50


@pytest.mark.parametrize(("service", "name"), CASES)
def test_no_value_of_a_variable_is_our_mistake(service: str, name: str) -> None:
    wrong = []
    for value in VALUES:
        violations = refusals(LOADERS[service], GOOD | {name: value})
        if violations and name not in [told.path for told in violations]:
            wrong.append((value[:80], violations))
        if any(len(told.rule) < 5 or len(str(told)) > 1000 for told in violations):
            wrong.append((value[:80], violations))
    assert wrong == []


def refusals(load: Load, environ: Mapping[str, str]) -> tuple[Violation, ...]:
    """Empty when the settings are fine; then they can be shown. Raises whatever is no refusal."""
    try:
        settings = load(environ)
    except InvalidSettings as error:
        return tuple(error.violations)
    shown = "\n".join(describe(settings))
    assert "\0" not in shown
    return ()


@pytest.mark.parametrize("service", ["api", "engine", "ingester"])
def test_a_secret_is_never_repeated_in_a_refusal(service: str) -> None:
    secret = "hush" * 20  # no hexadecimal
    for name in ("OSTINATO_SECRET", "OSTINATO_NOTIFICATION_KEYS", "OSTINATO_DATABASE_URL"):
        told = refusals(LOADERS[service], GOOD | {name: secret})
        assert not [violation for violation in told if "hush" in str(violation)]
