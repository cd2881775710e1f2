"""The command line of a service: no arguments, or `--check-config`, which prints the settings and exits.

Secrets and passwords are never printed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import timedelta
from typing import TypeVar
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from ostinato.config.environment import InvalidSettings

S = TypeVar("S")
HIDDEN = "***"


def settings_or_exit(load: Callable[[Mapping[str, str]], S], environ: Mapping[str, str], arguments: Sequence[str]) -> S:
    """The settings to run with. Exits with 2 when they or the arguments are invalid, with 0 after --check-config."""
    unknown = [argument for argument in arguments if argument != "--check-config"]
    if unknown:
        _exit_refused([f"unknown argument {unknown[0]}: the only one is --check-config"])
    try:
        settings = load(environ)
    except InvalidSettings as error:
        _exit_refused([str(violation) for violation in error.violations])
    if arguments:
        sys.stdout.write("".join(f"{line}\n" for line in describe(settings)))
        raise SystemExit(0)
    return settings


def describe(settings: object, path: str = "") -> list[str]:
    """One `name = value` per setting, nested groups with dots."""
    if not is_dataclass(settings):
        raise TypeError(f"{type(settings).__name__} is not a settings class")
    lines: list[str] = []
    for field in fields(settings):
        value = getattr(settings, field.name)
        name = f"{path}{field.name}"
        if is_dataclass(value):
            lines += describe(value, f"{name}.")
        else:
            lines.append(f"{name} = {_shown(value, secret=not field.repr)}")
    return lines


def redacted_url(url: str) -> str:
    """The URL without its password, wherever it stands."""
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    name, colon, _ = user.partition(":")
    query = [(key, HIDDEN if "password" in key else value) for key, value in parse_qsl(parts.query)]
    address = f"{parts.scheme}://{name}{colon and ':' + HIDDEN}{at}{host}{parts.path}"
    return f"{address}?{urlencode(query, quote_via=quote, safe='*/')}" if query else address


def _shown(value: object, *, secret: bool) -> str:
    match value:
        case timedelta():
            return f"{value.total_seconds():g}s"
        case tuple():
            return ", ".join(_shown(item, secret=secret) for item in value) or "(none)"
        case bytes():
            return f"({len(value)} secret bytes)" if value else "(none)"
        case str() if secret and "://" in value:
            return redacted_url(value)
        case _:
            return str(value) if value != "" else "(none)"


def _exit_refused(complaints: Sequence[str]) -> None:
    sys.stderr.write("".join(f"{complaint}\n" for complaint in complaints))
    raise SystemExit(2)
