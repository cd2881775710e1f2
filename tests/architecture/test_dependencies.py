"""docs/dependencies.md gives a reason for each dependency, and the project has none that it doesn't."""

from __future__ import annotations

import re
import tomllib

from tests.architecture.source_tree import read

NAME = re.compile(r"[A-Za-z0-9][\w.-]*")


def declared() -> set[str]:
    project = tomllib.loads(read("pyproject.toml"))["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    return {match[0].lower() for group in groups for text in group if (match := NAME.match(text))}


def explained(text: str) -> dict[str, str]:
    return dict(re.findall(r"^\| ([\w.-]+) \| (.+) \|$", text, re.MULTILINE))


def test_each_dependency_has_its_reason() -> None:
    reasons = {name: why for name, why in explained(read("docs/dependencies.md")).items() if name != "package"}
    assert reasons.keys() == declared()
    assert all(len(why.strip()) > 3 for why in reasons.values())


def test_a_line_without_a_reason_is_not_read_as_one() -> None:
    assert explained("| left-pad | |\n") == {}
