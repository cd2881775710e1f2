"""YAML text → a tree of mappings, lists and scalars that remember where they stand.

Only the plain parts of YAML: no aliases, anchors, tags, merge keys or second documents, so that a small file
stays small; depth is bounded. Plain scalars follow YAML 1.2 (`yes` and `1:30` are text). A key that stands twice
in a mapping is an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import yaml

from ostinato.errors import InvalidArgument
from ostinato.yamlfile.mistakes import Mistakes

ROOT = "config"
MAX_DEPTH = 16
_MAX_SHOWN = 100

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NULL = re.compile(r"~|null|Null|NULL|")
_BOOL = re.compile(r"(true|True|TRUE)|false|False|FALSE")
_DECIMAL = re.compile(r"[-+]?[0-9]{1,300}(?:\.[0-9]{1,300})?")
_INT = re.compile(r"[-+]?[0-9]{1,30}")
_NUMBER = re.compile(
    r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)|0[xo][0-9a-fA-F]+"
)


@dataclass(frozen=True, slots=True)
class YamlScalar:
    """`plain`: written without quotes, so it may stand for a number, a boolean or nothing."""

    path: str
    text: str
    plain: bool

    @property
    def is_text(self) -> bool:
        return not self.plain or not any(rule.fullmatch(self.text) for rule in (_NULL, _BOOL, _NUMBER))

    def as_bool(self) -> bool | None:
        """None if it is no boolean; `as_int` likewise."""
        match = _BOOL.fullmatch(self.text) if self.plain else None
        return None if match is None else match[1] is not None

    def as_int(self) -> int | None:
        return int(self.text) if self.plain and _INT.fullmatch(self.text) else None

    def as_float(self) -> float | None:
        """Finite ones in decimal notation."""
        return float(self.text) if self.plain and _DECIMAL.fullmatch(self.text) else None


@dataclass(frozen=True, slots=True)
class YamlList:
    path: str
    items: tuple[YamlNode, ...]


@dataclass(frozen=True, slots=True)
class YamlMapping:
    path: str
    entries: dict[str, YamlNode]


YamlNode: TypeAlias = YamlScalar | YamlList | YamlMapping


def parse_yaml(text: str, mistakes: Mistakes) -> YamlNode:
    """Notes keys that stand twice and goes on; the first one counts. Raises InvalidArgument for the rest."""
    try:
        return _Reader(text, mistakes).read()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise InvalidArgument.of(ROOT, f"is not valid YAML: {where}{error.problem}") from None
    except yaml.YAMLError as error:
        raise InvalidArgument.of(ROOT, f"is not valid YAML: {_first_line(error)}") from None


def child_path(path: str, key: str) -> str:
    """Where the value of `key` stands. Keys that are no plain words are quoted."""
    shown = key if len(key) <= _MAX_SHOWN else key[:_MAX_SHOWN] + "…"
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*…?", shown):
        return f"{path}[{shown!r}]"
    return f"{path}.{shown}" if path else shown


class _Reader:
    """Builds the tree from the parser's events."""

    def __init__(self, text: str, mistakes: Mistakes) -> None:
        self._events: Iterator[yaml.Event] = yaml.parse(text, Loader=_LOADER)
        self._mistakes = mistakes

    def read(self) -> YamlNode:
        self._expect(yaml.StreamStartEvent)
        if isinstance(next(self._events), yaml.StreamEndEvent):
            raise InvalidArgument.of(ROOT, "is empty")
        root = self._node(next(self._events), "", 1)
        self._expect(yaml.DocumentEndEvent)
        if not isinstance(next(self._events), yaml.StreamEndEvent):
            raise InvalidArgument.of(ROOT, "must be one YAML document")
        return root

    def _node(self, event: yaml.Event, path: str, depth: int) -> YamlNode:
        _check_plain_parts(event, path)
        if depth > MAX_DEPTH:
            raise InvalidArgument.of(path, f"is nested deeper than {MAX_DEPTH} levels")
        match event:
            case yaml.ScalarEvent():
                return YamlScalar(path, _checked_text(event, path), plain=not event.style)
            case yaml.SequenceStartEvent():
                return YamlList(path, tuple(self._items(path, depth)))
            case yaml.MappingStartEvent():
                return YamlMapping(path, self._entries(path, depth))
            case _:
                raise AssertionError(f"the parser gave {event} where a value belongs")

    def _items(self, path: str, depth: int) -> Iterator[YamlNode]:
        index = 0
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            yield self._node(event, f"{path}[{index}]", depth + 1)
            index += 1

    def _entries(self, path: str, depth: int) -> dict[str, YamlNode]:
        entries: dict[str, YamlNode] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = _key(event, path)
            value_path = child_path(path, key)
            value = self._node(next(self._events), value_path, depth + 1)
            if key in entries:
                self._mistakes.note(value_path, "stands twice in this mapping")
            entries.setdefault(key, value)
        return entries

    def _expect(self, kind: type[yaml.Event]) -> None:
        event = next(self._events)
        assert isinstance(event, kind), f"the parser gave {event} instead of {kind.__name__}"


def _key(event: yaml.Event, path: str) -> str:
    _check_plain_parts(event, path)
    if not isinstance(event, yaml.ScalarEvent):
        raise InvalidArgument.of(path or ROOT, f"{_line(event)} keys must be text")
    return _checked_text(event, path)


def _check_plain_parts(event: yaml.Event, path: str) -> None:
    where = path or ROOT
    if isinstance(event, yaml.AliasEvent):
        raise InvalidArgument.of(where, f"{_line(event)} aliases are not supported")
    if isinstance(event, yaml.NodeEvent) and event.anchor is not None:
        raise InvalidArgument.of(where, f"{_line(event)} anchors are not supported")
    if getattr(event, "tag", None) is not None:
        raise InvalidArgument.of(where, f"{_line(event)} tags are not supported")


def _checked_text(event: yaml.ScalarEvent, path: str) -> str:
    text: str = event.value
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidArgument.of(path or ROOT, f"{_line(event)} this is not valid Unicode") from None
    return text


def _line(event: yaml.Event) -> str:
    return "" if event.start_mark is None else f"(line {event.start_mark.line + 1})"


def _first_line(error: yaml.YAMLError) -> str:
    return (str(error).splitlines() or ["unreadable"])[0]
