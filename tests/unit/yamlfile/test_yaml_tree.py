"""The plain parts of YAML, and nothing that makes a small file large."""

from __future__ import annotations

import pytest

from ostinato.errors import InvalidArgument
from ostinato.yamlfile.mistakes import Mistakes
from ostinato.yamlfile.yaml_tree import YamlList, YamlMapping, YamlNode, YamlScalar, child_path, parse_yaml


def parse(text: str) -> YamlNode:
    mistakes = Mistakes()
    node = parse_yaml(text, mistakes)
    assert mistakes.violations == []
    return node


def scalar(text: str) -> YamlScalar:
    node = parse(f"- {text}")
    assert isinstance(node, YamlList)
    (item,) = node.items
    assert isinstance(item, YamlScalar)
    return item


@pytest.mark.parametrize(
    "text",
    ["word", "'1'", '"true"', "yes", "off", "1:30", "2026-01-01", "0 3 * * *", "1.2.3", "every 15m", "'~'", "''"],
)
def test_text_is_what_is_quoted_or_stands_for_nothing_else(text: str) -> None:
    assert scalar(text).is_text


@pytest.mark.parametrize(
    "text", ["1", "-1", "1.5", "1e3", ".5", "-.inf", ".nan", "0x1F", "0o17", "true", "FALSE", "null", "~", ""]
)
def test_numbers_booleans_and_nothing_are_no_text(text: str) -> None:
    assert not scalar(text).is_text


@pytest.mark.parametrize(
    ("text", "value"), [("true", True), ("False", False), ("yes", None), ("'true'", None), ("1", None)]
)
def test_booleans(text: str, value: bool | None) -> None:
    assert scalar(text).as_bool() is value


@pytest.mark.parametrize(
    ("text", "value"),
    [("7", 7), ("-3", -3), ("012", 12), ("1.0", None), ("'7'", None), ("0x1F", None), ("9" * 31, None)],
)
def test_whole_numbers(text: str, value: int | None) -> None:
    assert scalar(text).as_int() == value


def test_nodes_know_where_they_stand() -> None:
    root = parse("a:\n  - {b: 1, 'c d': [x]}\n")
    assert isinstance(root, YamlMapping)
    items = root.entries["a"]
    assert isinstance(items, YamlList)
    (inner,) = items.items
    assert isinstance(inner, YamlMapping)
    assert [node.path for node in inner.entries.values()] == ["a[0].b", "a[0]['c d']"]
    assert inner.entries["c d"].items[0].path == "a[0]['c d'][0]"  # type: ignore[union-attr]


def test_a_path_never_grows_with_a_key() -> None:
    assert len(child_path("a", "k" * 100_000)) < 200
    assert len(child_path("a", " " * 100_000)) < 200


def test_a_key_that_stands_twice_is_noted_and_the_first_counts() -> None:
    mistakes = Mistakes()
    root = parse_yaml("a: {b: 1, b: 2}\na: 3", mistakes)
    assert [violation.path for violation in mistakes.violations] == ["a.b", "a"]
    assert isinstance(root, YamlMapping)
    assert isinstance(root.entries["a"], YamlMapping)


@pytest.mark.parametrize(
    ("text", "path", "rule"),
    [
        ("a: &x 1\nb: *x", "a", "anchors"),
        ("a: *x", "a", "aliases"),
        ("&x a: 1", "config", "anchors"),
        ("a: &x [*x]", "a", "anchors"),
        ("a: !!python/object:os.system {}", "a", "tags"),
        ("a: !!str 1", "a", "tags"),
        ("!x a: 1", "config", "tags"),
        ("<<: {a: 1}\nb: !!binary aGk=", "b", "tags"),
        ("a: 1\n---\nb: 2", "config", "one YAML document"),
        ("? [a]\n: 1", "config", "keys must be text"),
        ("{[a]: 1}", "config", "keys must be text"),
        ("", "config", "is empty"),
        ("# nothing", "config", "is empty"),
        ("a: [", "config", "line 2"),
        ("a: 'x", "config", "not valid YAML"),
        ("a: 1\n b: 2", "config", "line 2"),
        ("a: \x00", "config", "not valid YAML"),
        ("a: \x1b", "config", "not valid YAML"),
        ('a: "\\ud800"', "config", "not valid YAML"),
        ("a: @x", "config", "not valid YAML"),
        ("%YAML 3.0\n---\na: 1", "config", "not valid YAML"),
    ],
)
def test_everything_else_is_refused_with_its_place(text: str, path: str, rule: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse_yaml(text, Mistakes())
    (violation,) = caught.value.violations
    assert violation.path == path
    assert rule in violation.rule


@pytest.mark.timeout(5)
@pytest.mark.parametrize(
    "text",
    [
        "[" * 1_000_000,
        "{a: " * 250_000,
        "- " * 500_000,
        "".join(" " * i + "a:\n" for i in range(1400)),
        "&" * 1_000_000,
        "!" * 1_000_000,
        "a" * 1_000_000 + ": 1",
        "'" + "x" * 1_000_000,
        "a: |\n" + " \n" * 500_000 + "\t",
        "---\n" * 250_000,
    ],
    ids=range(10),
)
def test_hostile_text_is_refused_quickly(text: str) -> None:
    with pytest.raises(InvalidArgument):
        parse_yaml(text, Mistakes())
