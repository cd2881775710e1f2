"""The project's files as the architecture tests see them: parsed once, names resolved through imports."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCE_ROOTS = ("libs", "services")
GENERATED = "libs/ostinato/pb/"


@dataclass(frozen=True, slots=True)
class Source:
    """One Python file. `path` is relative to the repository."""

    path: str
    text: str

    @property
    def tree(self) -> ast.Module:
        return _parsed(self.text)

    @property
    def aliases(self) -> dict[str, str]:
        return _aliases(self.text)


@cache
def _parsed(text: str) -> ast.Module:
    return ast.parse(text)


@cache
def own_sources() -> tuple[Source, ...]:
    """Every module of libs and services except generated code."""
    paths = sorted(path for root in SOURCE_ROOTS for path in (ROOT / root).rglob("*.py"))
    relative = ((str(path.relative_to(ROOT)), path) for path in paths)
    return tuple(Source(name, path.read_text()) for name, path in relative if not name.startswith(GENERATED))


@cache
def project_files() -> tuple[str, ...]:
    """Files that are or would be committed."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    return tuple(sorted(name for name in listing.split("\0") if name and (ROOT / name).is_file()))


def read(name: str) -> str:
    return (ROOT / name).read_text()


@cache
def _aliases(text: str) -> dict[str, str]:
    """Local name → what it was imported as, e.g. `dt` → `datetime.datetime`."""
    aliases = {}
    for node in ast.walk(_parsed(text)):
        if isinstance(node, ast.Import):
            for name in node.names:
                top = name.name.partition(".")[0]
                aliases[name.asname or top] = name.name if name.asname else top
        elif isinstance(node, ast.ImportFrom) and node.module:
            for name in node.names:
                aliases[name.asname or name.name] = f"{node.module}.{name.name}"
    return aliases


def dotted_names(source: Source) -> Iterator[tuple[int, str]]:
    """Each (line, dotted name) that is read and begins with an imported name, resolved."""
    aliases = source.aliases
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Attribute | ast.Name) and (name := _resolve(node, aliases)):
            yield node.lineno, name


def _resolve(node: ast.expr, aliases: dict[str, str]) -> str | None:
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name) or node.id not in aliases:
        return None
    return ".".join([aliases[node.id], *reversed(parts)])


def imports(source: Source) -> Iterator[tuple[int, str]]:
    """Each (line, dotted name) that the file imports, wherever in it; `from a import b` is `a.b`."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, name.name) for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from ((node.lineno, f"{node.module}.{name.name}") for name in node.names)


def string_constants(source: Source) -> Iterator[tuple[int, str]]:
    """Each (line, text) of string literals and f-strings (holes read as `{}`), without docstrings."""
    skipped = {id(part) for part in _docstrings(source.tree)}
    for node in ast.walk(source.tree):
        if isinstance(node, ast.JoinedStr):
            skipped.update(id(part) for part in node.values)
            yield (
                node.lineno,
                "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values),
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in skipped:
            yield node.lineno, node.value


def _docstrings(tree: ast.Module) -> Iterator[ast.expr]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield node.value
