"""The environment variables that the code reads, found by looking over its shoulder."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache

from ostinato.config import InvalidSettings, load_api_settings, load_engine_settings, load_ingester_settings
from tests.architecture.source_tree import own_sources, string_constants

NAME = re.compile(r"\b(?:OSTINATO|OTEL)_[A-Z][A-Z_]*[A-Z]\b|\bDATABASE_URL\b")


class _Watched(Mapping[str, str]):
    """An empty environment that remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked: set[str] = set()

    def __getitem__(self, name: str) -> str:
        self.asked.add(name)
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


@cache
def known_settings() -> frozenset[str]:
    """Names that the services' settings read, and those that stand in the code as a literal."""
    environ = _Watched()
    for load in (load_api_settings, load_engine_settings, load_ingester_settings):
        try:
            load(environ)
        except InvalidSettings:
            continue
    literals = {text for source in own_sources() for _, text in string_constants(source) if NAME.fullmatch(text)}
    return frozenset(environ.asked | literals)
