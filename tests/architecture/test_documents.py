"""The documents name only what exists: commands with their options, make targets, files, modules, links."""

from __future__ import annotations

import importlib
import re
from functools import cache
from pathlib import PurePosixPath

import click
import pytest

from ostinato.cli.main import cli
from tests.architecture.documents import Document, documents
from tests.architecture.source_tree import ROOT, project_files, read

PLACEHOLDER = re.compile(r"[A-Z]+(_[A-Z]+)*|…|\.\.\.|--help")


def unknown_in_command(arguments: list[str]) -> list[str]:
    """Subcommands and long options of an `ostinato` call that the command line does not have."""
    command: click.Command = cli
    rest, unknown = list(arguments), []
    while rest:
        word = rest.pop(0)
        if word.startswith("--"):
            option = _option(command, word.partition("=")[0])
            if option is None and word != "--help":
                unknown.append(word)
            elif option is not None and not option.is_flag and "=" not in word:
                rest = rest[1:]
        elif isinstance(command, click.Group) and not PLACEHOLDER.fullmatch(word):
            found = command.get_command(click.Context(command), word)
            if found is None:
                return [*unknown, word]
            command = found
    return unknown


def _option(command: click.Command, name: str) -> click.Option | None:
    options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
    return next((option for option in options if name in [*option.opts, *option.secondary_opts]), None)


@cache
def make_targets() -> frozenset[str]:
    return frozenset(re.findall(r"^([a-z][\w-]*):", read("Makefile"), re.MULTILINE))


@cache
def _suffixes() -> frozenset[str]:
    """Every file and folder (with a slash) of the project, by all ends of its path; also what it makes when it runs."""
    ends = set(read(".gitignore").split())
    for name in project_files():
        path = PurePosixPath(name)
        for part in [path, *path.parents]:
            text = str(part) if part == path else f"{part}/"
            pieces = text.split("/")
            ends.update("/".join(pieces[index:]) for index in range(len(pieces)))
    return frozenset(ends - {""})


def missing_modules(document: Document) -> list[str]:
    return [name for name in sorted(document.modules()) if not _resolves(name)]


def _resolves(name: str) -> bool:
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for attribute in parts[length:]:
            found = getattr(found, attribute, None)
        return found is not None
    return False


def missing_links(document: Document) -> list[str]:
    folder = (ROOT / document.path).parent
    return [link for link in sorted(document.links()) if not (folder / link.partition("#")[0]).exists()]


def test_every_command_that_is_shown_exists() -> None:
    shown = [(document.path, arguments) for document in documents() for arguments in document.commands("ostinato")]
    assert shown
    assert [(path, unknown) for path, arguments in shown if (unknown := unknown_in_command(arguments))] == []


def test_every_make_target_that_is_shown_exists() -> None:
    shown = {words[0] for document in documents() for words in document.commands("make") if words}
    assert shown
    assert {name for name in shown if not PLACEHOLDER.match(name)} - make_targets() == set()


def test_every_file_that_is_named_exists() -> None:
    missing = {document.path: sorted(document.paths() - _suffixes()) for document in documents()}
    assert {path: names for path, names in missing.items() if names} == {}


def test_every_module_that_is_named_can_be_imported() -> None:
    assert {document.path: names for document in documents() if (names := missing_modules(document))} == {}


def test_every_link_leads_somewhere() -> None:
    assert {document.path: names for document in documents() if (names := missing_links(document))} == {}


@pytest.mark.parametrize("line", ["ostinato fly", "ostinato jobs --colour red", "ostinato --adress x jobs"])
def test_a_command_that_does_not_exist_is_found(line: str) -> None:
    (arguments,) = Document("x.md", f"```sh\n$ {line}\n```\n").commands("ostinato")
    assert unknown_in_command(arguments)


def test_a_file_a_module_and_a_link_that_do_not_exist_are_found() -> None:
    document = Document("docs/x.md", "`libs/ostinato/nowhere.py` `nowhere/` `ostinato.nowhere.f` [x](nowhere.md)")
    assert document.paths() - _suffixes() == {"libs/ostinato/nowhere.py", "nowhere/"}
    assert missing_modules(document) == ["ostinato.nowhere.f"]
    assert missing_links(document) == ["nowhere.md"]
