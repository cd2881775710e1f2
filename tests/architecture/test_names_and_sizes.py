"""A module is named after its concept and stays small enough to be read in one go."""

from __future__ import annotations

import ast
import re
from pathlib import PurePath

import pytest

from tests.architecture.source_tree import ROOT, own_sources, project_files

MEANINGLESS = re.compile(r"(^|_)(utils?|common|helpers?|misc|base|managers?|shared|core|lib|stuff)$")
MOST_LINES = 400


def meaningless_parts(path: str) -> list[str]:
    parts = [part.removesuffix(".py") for part in PurePath(path).parts]
    return [part for part in parts if MEANINGLESS.search(part)]


def test_no_module_has_a_name_that_says_nothing() -> None:
    checked = [name for name in project_files() if name.endswith(".py")]
    assert checked
    assert {name: parts for name in checked if (parts := meaningless_parts(name))} == {}


def test_no_module_is_too_long_to_read() -> None:
    lengths = {source.path: source.text.count("\n") for source in own_sources()}
    assert {path: lines for path, lines in lengths.items() if lines > MOST_LINES} == {}


def test_every_module_says_what_it_is_for() -> None:
    silent = [source.path for source in own_sources() if source.tree.body and not ast.get_docstring(source.tree)]
    assert silent == []


def test_packages_are_importable_by_the_name_of_their_path() -> None:
    folders = {(ROOT / source.path).parent for source in own_sources()}
    assert [str(folder) for folder in sorted(folders) if not (folder / "__init__.py").exists()] == []


@pytest.mark.parametrize("path", ["libs/ostinato/rpc/utils.py", "libs/ostinato/common/x.py", "tests/job_helpers.py"])
def test_a_meaningless_name_is_found(path: str) -> None:
    assert meaningless_parts(path)


def test_a_telling_name_is_accepted() -> None:
    assert not meaningless_parts("libs/ostinato/storage/database.py")
