"""What the documents claim: commands, paths, modules and links, taken from their code spans and blocks."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from tests.architecture.source_tree import project_files, read

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_SUFFIXED = re.compile(r"[\w./-]*\w\.(?:py|md|sql|proto|toml|yaml|yml|env|lock|json)")
_FOLDER = re.compile(r"(?:[\w.-]+/)+")
_MODULE = re.compile(r"ostinato(?:_api|_engine|_ingester)?(?:\.\w+)+")
_SHELL = {"", "sh", "console", "bash"}


@dataclass(frozen=True, slots=True)
class Document:
    path: str
    text: str

    def spans(self) -> list[str]:
        return _SPAN.findall(_FENCE.sub("", self.text))

    def shell_lines(self) -> Iterator[str]:
        for language, body in _FENCE.findall(self.text):
            if language in _SHELL:
                yield from (line.strip() for line in body.replace("\\\n", " ").splitlines())

    def commands(self, program: str) -> Iterator[list[str]]:
        """Arguments of each call of `program`, in blocks and in spans."""
        for line in [*self.shell_lines(), *self.spans()]:
            arguments = _arguments(line, program)
            if arguments is not None:
                yield arguments

    def paths(self) -> set[str]:
        """Files and folders (with a slash at the end) that the text names, but none that the reader makes."""
        return {span for span in self.spans() if _SUFFIXED.fullmatch(span) or _FOLDER.fullmatch(span)}

    def modules(self) -> set[str]:
        return {span for span in self.spans() if _MODULE.fullmatch(span) and not _SUFFIXED.fullmatch(span)}

    def links(self) -> set[str]:
        return {target for target in _LINK.findall(self.text) if "://" not in target and not target.startswith("#")}


def documents() -> list[Document]:
    return [Document(name, read(name)) for name in project_files() if name.endswith(".md")]


def _arguments(line: str, program: str) -> list[str] | None:
    words = _words(line.removeprefix("$ "))
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words = words[1:]
    if not words or words[0].removeprefix(".venv/bin/") != program:
        return None
    return _until_end(words[1:])


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line, comments=True)
    except ValueError:
        return []


def _until_end(words: list[str]) -> list[str]:
    ends = [index for index, word in enumerate(words) if word in {"|", "&&", "||", ";", ">", "&", "2>&1"}]
    return words[: ends[0]] if ends else words
